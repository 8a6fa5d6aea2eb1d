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
	wantHealthy(t, "--listen-addr", address)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LISTEN_ADDR", "0.0.0.0:"+port)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // a proxy would have to know the instance
	wantHealthy(t)
	t.Setenv("LISTEN_ADDR", ":"+port)
	wantHealthy(t)
}

func TestHealthcheckAsksAWildcardAddressByLoopback(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		":8080":             "http://127.0.0.1:8080/readyz",
		"0.0.0.0:8080":      "http://127.0.0.1:8080/readyz",
		"[::]:8080":         "http://[::1]:8080/readyz",
		"127.0.0.1:8090":    "http://127.0.0.1:8090/readyz",
		"[2001:db8::1]:443": "http://[2001:db8::1]:443/readyz",
		"localhost:8080":    "http://localhost:8080/readyz",
	} {
		c := healthcheckCommand{ListenAddr: listen}
		if got, err := c.target(); got != want || err != nil {
			t.Errorf("%s: %s (%v), want %s", listen, got, err, want)
		}
	}
}

func TestHealthcheckSaysWhyAnInstanceIsNotReady(t *testing.T) {
	t.Parallel()
	notReady := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready")
	}))
	defer notReady.Close()
	wantUnhealthy(t, []string{"--listen-addr", notReady.Listener.Addr().String()}, "not ready",
		"/readyz", "503")

	elsewhere := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer elsewhere.Close()
	wantUnhealthy(t, []string{"--listen-addr", elsewhere.Listener.Addr().String()}, "302")

	gone := elsewhere.Listener.Addr().String()
	elsewhere.Close()
	wantUnhealthy(t, []string{"--listen-addr", gone}, "http://"+gone+"/readyz", "refused")
}

func TestHealthcheckDoesNotWaitForAnInstanceThatHangs(t *testing.T) {
	t.Parallel()
	// accepts, and never answers
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	begin := time.Now()
	wantUnhealthy(t, []string{"--listen-addr", listener.Addr().String(), "--timeout", "50ms"},
		context.DeadlineExceeded.Error())
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// An instance's certificate names the host that its callers know, which loopback is
// not.
func TestHealthcheckSpeaksTLS(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
		}
	}))
	defer secure.Close()
	secure.Config.ErrorLog = nil
	address := secure.Listener.Addr().String()
	wantHealthy(t, "--listen-addr", address, "--tls-cert-file", "cert.pem")
	// plain HTTP
	wantUnhealthy(t, []string{"--listen-addr", address}, "400")
	// anybody's
	wantUnhealthy(t, []string{"--url", "https://" + address + "/readyz"}, "certificate")
	wantUnhealthy(t, []string{"--listen-addr", address, "--tls-cert-file", "", "--url", "x"},
		"unsupported protocol scheme")
}

func TestHealthcheckAsksAnotherURLWhenItIsGivenOne(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
	}))
	defer other.Close()
	wantHealthy(t, "--listen-addr", "127.0.0.1:1", "--url", other.URL+"/elsewhere")
	if path := <-asked; path != "/elsewhere" {
		t.Errorf("%s was asked", path)
	}
}

func TestHealthcheckRefusesAnAddressThatNamesNoInstance(t *testing.T) {
	t.Parallel()
	wantUnhealthy(t, []string{"--listen-addr", "127.0.0.1:0"}, "LISTEN_ADDR", "--url")
	wantUnhealthy(t, []string{"--listen-addr", "8080"}, "LISTEN_ADDR", "is not an address")
}
