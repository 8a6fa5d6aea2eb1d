package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// runHealthcheck is `paymentsvc healthcheck` with those arguments.
func runHealthcheck(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = run(t.Context(), append([]string{"healthcheck"}, args...),
		terminal{out: &out, err: &complaints})
	return code, out.String(), complaints.String()
}

// wantHealthy expects success, and nothing said that an inspector of the container
// would take for a complaint.
func wantHealthy(t *testing.T, args ...string) {
	t.Helper()
	if code, stdout, stderr := runHealthcheck(t, args...); code != 0 || stdout != "ready\n" ||
		stderr != "" {
		t.Errorf("%q: exit %d, printed %q and %q", args, code, stdout, stderr)
	}
}

// wantUnhealthy expects failure, and all of those words on standard error.
func wantUnhealthy(t *testing.T, args []string, words ...string) {
	t.Helper()
	code, stdout, stderr := runHealthcheck(t, args...)
	if code != 1 || stdout != "" {
		t.Errorf("%q: exit %d, printed %q", args, code, stdout)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%q: %q is not in %q", args, word, stderr)
		}
	}
}

func TestHealthcheckFindsTheInstanceByItsOwnSettings(t *testing.T) {
	address, _ := startDev(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LISTEN_ADDR", "0.0.0.0:"+port)
	wantHealthy(t)
}

func TestHealthcheckAsksAWildcardAddressByLoopback(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":8080":             "http://127.0.0.1:8080/readyz",
		"0.0.0.0:8080":      "http://127.0.0.1:8080/readyz",
		"[::]:8080":         "http://[::1]:8080/readyz",
		"[2001:db8::1]:443": "http://[2001:db8::1]:443/readyz",
		"localhost:8080":    "http://localhost:8080/readyz",
	} {
		c := healthcheckCommand{ListenAddr: listen}
		if got, err := c.target(); got != want || err != nil {
			t.Errorf("%s: %s (%v), want %s", listen, got, err, want)
		}
	}
	wantUnhealthy(t, []string{"--listen-addr", "127.0.0.1:0"}, "LISTEN_ADDR", "--url")
}

func TestHealthcheckSaysWhyAnInstanceIsNotReady(t *testing.T) {
	t.Parallel()
	notReady := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready")
	}))
	defer notReady.Close()
	address := notReady.Listener.Addr().String()
	wantUnhealthy(t, []string{"--listen-addr", address}, "not ready", "/readyz", "503")

	elsewhere := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer elsewhere.Close()
	wantUnhealthy(t, []string{"--url", elsewhere.URL}, "302")

	// It accepts connections and never answers.
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address = silent.Addr().String()
	began := time.Now()
	wantUnhealthy(t, []string{"--listen-addr", address, "--timeout", "50ms"},
		context.DeadlineExceeded.Error())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// The certificate of an instance does not name the loopback address.
func TestHealthcheckSpeaksTLS(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
		}
	}))
	defer secure.Close()
	address := secure.Listener.Addr().String()
	wantHealthy(t, "--listen-addr", address, "--tls-cert-file", "cert.pem")
	// A given URL may name any server, so its certificate is checked.
	wantUnhealthy(t, []string{"--url", "https://" + address + "/readyz"}, "certificate")
}
