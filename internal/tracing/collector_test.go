package tracing

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// upload sends one span's resource to a collector that gives these answers, and returns the requests that it got.
func upload(t *testing.T, s Settings, answers ...int) (requests int, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reader := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			reader = unpacked
		}
		body, err := io.ReadAll(reader)
		if err != nil {
			t.Error(err)
		}
		var got spans.TracesData
		if err := proto.Unmarshal(body, &got); err != nil || len(got.ResourceSpans) != 1 || got.ResourceSpans[0].SchemaUrl != "here" {
			t.Errorf("got %v, %v", &got, err)
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Token") != "secret" {
			t.Errorf("got %s with %v", r.Method, r.Header)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answers[min(requests, len(answers)-1)])
		requests++
	}))
	defer server.Close()
	s.url, s.header = server.URL, http.Header{"X-Token": {"secret"}}
	c := newCollector(&s)
	err = c.UploadTraces(t.Context(), []*spans.ResourceSpans{{SchemaUrl: "here"}})
	if stopped := c.Stop(context.Background()); stopped != nil {
		t.Error(stopped)
	}
	return requests, err
}

func TestSpansAreSentAgainOnlyWhenThatMayHelp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		answers  []int
		requests int
		fails    bool
	}{
		{"taken", []int{200}, 1, false},
		{"overloaded for a moment", []int{503, 429, 200}, 3, false},
		{"refused", []int{400}, 1, true},
		{"sent elsewhere", []int{307}, 1, true}, // where the headers, which may be secret, do not follow
		{"overloaded for long", []int{503}, triesMax, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, packed := range []bool{false, true} {
				requests, err := upload(t, Settings{timeout: time.Minute, gzip: packed}, test.answers...)
				if requests != test.requests || (err != nil) != test.fails {
					t.Errorf("%d requests, and %v; want %d", requests, err, test.requests)
				}
			}
		})
	}
}

func TestSendingSpansEndsInTime(t *testing.T) {
	t.Parallel()
	began := time.Now()
	if _, err := upload(t, Settings{timeout: 50 * time.Millisecond}, 503); err == nil {
		t.Error("spans were not taken, and nothing was said")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
}
