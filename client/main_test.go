package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/client"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// answer is what a scripted service says to one request.
type answer struct {
	status int
	kind   string // Content-Type
	header map[string]string
	body   string
	err    error // in place of all that: the answer was lost
}

// script is a transport that answers the nth request with its nth answer, and all after
// the last with the last.
type script struct {
	answers []answer

	mu   sync.Mutex
	seen []sent // guarded by mu
}

// sent is what was seen of a request.
type sent struct {
	method, path string
	header       http.Header
	body         string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, sent{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body)})
	return s.answers[min(len(s.seen), len(s.answers))-1].response(r)
}

func (a answer) response(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	header := http.Header{"Content-Type": {a.kind}}
	for name, value := range a.header {
		header.Set(name, value)
	}
	return &http.Response{
		StatusCode: a.status, Header: header, Body: io.NopCloser(strings.NewReader(a.body)),
		ContentLength: int64(len(a.body)), Request: r,
	}, nil
}

func (s *script) requests() []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sent(nil), s.seen...)
}

// yes is the answer to a charge that was carried out.
var yes = answer{
	status: 201, kind: "application/json",
	body: `{"id":"pay_1","status":"succeeded","amount":4999}`,
}

// lost is an answer that did not arrive.
var lost = answer{err: io.ErrUnexpectedEOF}

// problem is the service's no.
func problem(status int, code string, retry client.Advice) answer {
	body, err := json.Marshal(map[string]any{
		"status": status, "code": code, "retry": retry, "detail": "because", "request_id": "req_1",
		"payment_id": "pay_1",
	})
	if err != nil {
		panic(err)
	}
	return answer{status: status, kind: "application/problem+json", body: string(body)}
}

// page is the refusal of a gateway.
func page(status int) answer {
	return answer{status: status, kind: "text/html", body: "<h1>no</h1>"}
}

// with is the answer with one more header.
func (a answer) with(name, value string) answer {
	header := maps.Clone(a.header)
	if header == nil {
		header = map[string]string{}
	}
	header[name] = value
	a.header = header
	return a
}

// withStatus is an answer whose status line says something else.
func withStatus(status int, a answer) answer {
	a.status = status
	return a
}

// scripted is a client whose service follows a script.
func scripted(t *testing.T, options client.Options, answers ...answer) (*client.Client, *script) {
	t.Helper()
	s := &script{answers: answers}
	options.URL, options.APIKey, options.Transport = "https://payments.example", "sk_test", s
	return newClient(t, options), s
}

func newClient(t *testing.T, options client.Options) *client.Client {
	t.Helper()
	c, err := client.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var charge = client.Charge{
	Amount: 4999, Currency: "USD", SourceAccount: "alice",
	DestinationAccount: "shop",
}

// isUnknown tells whether an error says that the outcome is unknown, and fails the test
// if it says it only by half.
func isUnknown(t *testing.T, err error, key client.Key) bool {
	t.Helper()
	unknown, typed := errors.AsType[*client.UnknownOutcomeError](err)
	if errors.Is(err, client.ErrUnknownOutcome) != typed {
		t.Errorf("ErrUnknownOutcome and its type disagree in %v", err)
	}
	if typed && unknown.Key != key {
		t.Errorf("the outcome is unknown under key %q, but the key was %q", unknown.Key, key)
	}
	return typed
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// collect reads a whole list.
func collect[T any](t *testing.T, list func(func(T, error) bool)) (things []T) {
	t.Helper()
	for thing, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		things = append(things, thing)
	}
	return things
}

func name(i int) string { return fmt.Sprintf("key-%d", i) }
