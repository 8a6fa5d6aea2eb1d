package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// shell runs paymentsvc as a shell does.
type shell struct {
	*testing.T
	url string
}

// charge runs paymentsvc charge, and returns its exit code and what it printed.
func (s shell) charge(ctx context.Context, args ...string) (code int, out, err string) {
	s.Helper()
	var stdout, stderr output
	args = append([]string{
		"charge", "--url", s.url, "--amount", "4999", "--currency", "USD",
		"--to", "shop",
	}, args...)
	code = run(ctx, args, terminal{out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// expect fails the test unless the code is right and stderr says that.
func (s shell) expect(what string, code, want int, stderr, says string) {
	s.Helper()
	if code != want || !strings.Contains(stderr, says) {
		s.Errorf("%s: exit code %d, want %d and %q:\n%s", what, code, want, says, stderr)
	}
}

// announced is the key that a charge has printed before it sent anything.
func (s shell) announced(stderr string) string {
	s.Helper()
	match := regexp.MustCompile(`^paymentsvc: continue with --key (\S+) if`).
		FindStringSubmatch(stderr)
	if match == nil {
		s.Fatalf("no key is announced first:\n%s", stderr)
	}
	return match[1]
}

func TestChargeFromAShell(t *testing.T) {
	address, apiKey := startDev(t)
	t.Setenv("API_KEY", apiKey)
	s := shell{t, "http://" + address}
	ctx := t.Context()

	code, first, stderr := s.charge(ctx, "--from", "alice", "--reference", "order-1",
		"--description", "a pen")
	s.expect("a charge", code, 0, stderr, "continue with --key")
	var payment struct{ ID, Status, Reference, Description string }
	if err := json.Unmarshal([]byte(first), &payment); err != nil || payment.ID == "" ||
		payment.Status != "succeeded" ||
		payment.Reference != "order-1" || payment.Description != "a pen" {
		t.Errorf("it printed %s", first)
	}
	if strings.Contains(stderr, "replayed") || strings.Contains(first+stderr, apiKey) {
		t.Errorf("it printed %s", stderr)
	}

	key := s.announced(stderr)
	code, again, stderr := s.charge(ctx, "--from", "alice", "--reference", "order-1",
		"--description", "a pen", "--key", key)
	s.expect("the same again", code, 0, stderr, "replayed")
	if again != first {
		t.Errorf("the replay differs:\n%s%s", first, again)
	}
	code, _, stderr = s.charge(ctx, "--from", "alice", "--key", key)
	s.expect("the key for something else", code, 1, stderr, "idempotency_key_reused")
	code, _, stderr = s.charge(ctx, "--from", "bob")
	s.expect("a decline", code, 1, stderr, "insufficient_funds")
	code, _, stderr = s.charge(ctx, "--from", "nobody")
	s.expect("a refusal", code, 1, stderr, "The key is still free")
	code, out, stderr := s.charge(ctx, "--from", "alice", "--authorize-only", "--key",
		"it's a key")
	s.expect("an authorization", code, 0, stderr, `--key 'it'\''s a key'`)
	if !strings.Contains(out, `"authorized"`) {
		t.Errorf("it printed %s", out)
	}
	code, _, stderr = s.charge(ctx)
	s.expect("no --from", code, 2, stderr, "--from")
	code, _, stderr = s.charge(ctx, "--from", "alice", "--key", "")
	s.expect("an empty key", code, 2, stderr, "--key is empty")
	code, _, stderr = s.charge(ctx, "--from", "alice", "--reference", "")
	s.expect("an empty reference", code, 2, stderr, "--reference is empty")
	t.Setenv("API_KEY", "")
	code, _, stderr = s.charge(ctx, "--from", "alice")
	s.expect("no API key", code, 1, stderr, "API_KEY")
}

// Nobody has seen the key that such a charge would have, so nobody could continue it.
func TestChargeWhoseKeyCannotBeShownIsNotSent(t *testing.T) {
	t.Setenv("API_KEY", "sk_test")
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	for _, stderr := range []*os.File{closed, null} {
		args := []string{
			"charge", "--url", server.URL, "--amount", "1", "--currency", "USD", "--from", "a",
			"--to", "b",
		}
		if code := run(t.Context(), args, terminal{out: io.Discard, err: stderr}); code != 1 ||
			requests != 0 {
			t.Errorf("without --key: exit code %d, %d requests", code, requests)
		}
		args = append(args, "--key", "order-1017")
		if run(t.Context(), args, terminal{out: io.Discard, err: stderr}); requests != 1 {
			t.Errorf("with --key: %d requests", requests)
		}
		requests = 0
	}
}

// The answers are lost, for longer than the caller waits. The key that was printed
// finds out what has become of it.
func TestAChargeIsContinuedByItsKey(t *testing.T) {
	address, apiKey := startDev(t)
	t.Setenv("API_KEY", apiKey)
	service := &url.URL{Scheme: "http", Host: address}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	lossy := httptest.NewServer(&httputil.ReverseProxy{
		Transport:      transport,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(service) },
		ModifyResponse: func(*http.Response) error { return errors.New("lost") },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler)
		},
	})
	defer lossy.Close()

	code, out, stderr := shell{t, lossy.URL}.charge(t.Context(), "--from", "alice", "--timeout",
		"2s")
	s := shell{t, service.String()}
	key := s.announced(stderr)
	s.expect("every answer is lost", code, 3, stderr,
		"Continue with the same command and --key "+key)
	if out != "" {
		t.Errorf("it printed %s", out)
	}
	code, out, stderr = s.charge(t.Context(), "--from", "alice", "--key", key)
	s.expect("continued", code, 0, stderr, "replayed")
	if !strings.Contains(out, `"succeeded"`) {
		t.Errorf("it printed %s", out)
	}
}

// Ctrl-C ends a wait at once, and leaves the caller with the key.
func TestCtrlCLeavesTheKey(t *testing.T) {
	t.Setenv("API_KEY", "sk_test")
	for code, want := range map[string]struct {
		exit int
		says string
	}{
		"outcome_unknown": {3, "Continue with the same command and --key order-1017"},
		"overloaded":      {1, "Nothing was done. The key is still free: --key order-1017"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
			r *http.Request,
		) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"status":503,"retry":"same_key","code":"`+code+`"}`)
		}))
		var stdout, stderr output
		began := time.Now()
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{
				"charge", "--url", server.URL, "--amount", "1", "--currency", "USD", "--from", "a",
				"--to", "b", "--key", "order-1017",
			}, terminal{out: &stdout, err: &stderr})
		}()
		await.Until(t, 10*time.Second, "it waits for another attempt", func() bool {
			return strings.Contains(stderr.String(), "attempt 1:")
		})
		interrupt()
		shell{T: t}.expect(code, <-ended, want.exit, stderr.String(), want.says)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", code, took)
		}
		server.Close()
	}
}
