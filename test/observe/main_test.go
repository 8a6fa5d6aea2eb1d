// Package observe looks at real paymentsvc processes as an operator does: by the admin
// listener, the log, traces and TLS.
//
//	admin_test.go  the endpoints of the admin listener, which callers cannot reach
//	log_test.go    the log of a start
//	trace_test.go  the spans of a charge, as a collector gets them
//	tls_test.go    certificates: good, renewed and bad ones
package observe

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// start starts an instance on a database of its own, with a merchant.
func start(t *testing.T, settings ...string) (*service.Instance, *journal.Merchant) {
	t.Helper()
	db := pgtest.New(t)
	in := service.Start(t, db.URL, append(settings, service.AllowDataLoss)...)
	return in, journal.NewMerchant(t, in, db.URL)
}

// get asks without a credential.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// endsSaying fails the test unless the child ends with exit code 1 and has said all of
// this, and no more than a few lines.
func endsSaying(t *testing.T, child *service.Child, texts ...string) {
	t.Helper()
	if code := child.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	said := child.Stderr.String()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q:\n%s", text, said)
		}
	}
}
