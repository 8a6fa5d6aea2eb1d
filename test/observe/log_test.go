package observe

import (
	"net/url"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// An operator can see what an instance runs with, and no reader of the log can log in.
func TestTheStartLogsTheConfigurationWithoutSecrets(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	database, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := database.User.Password()
	if password == "" {
		t.Fatal("the test database has no password, so nothing is shown")
	}
	in := service.Start(t, db.URL, service.AllowDataLoss, "LOG_LEVEL=debug", "REQUEST_TIMEOUT=9s",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_HEADERS=x=header-secret")
	m := journal.NewMerchant(t, in, db.URL)
	m.Charge(t.Context(), in.URL(), "k", journal.NewCharge(100))
	if code := in.Terminate(); code != 0 { // it warns that the last spans could not be sent
		t.Errorf("it ended with %d", code)
	}
	said := in.Stderr.String()
	for _, part := range []string{
		`"msg":"starting"`, `"request_timeout":"9s"`, `"listen_addr":"127.0.0.1:0"`,
		`"commit_workers":2`, `"tracing":true`,
		`"database":"postgres://` + database.User.Username() + "@" + database.Host +
			database.Path + `"`,
	} {
		if !strings.Contains(said, part) {
			t.Errorf("the log does not say %s", part)
		}
	}
	for _, secret := range []string{password, m.APIKey, "header-secret"} {
		if strings.Contains(said, secret) {
			t.Errorf("the log holds the secret %s", secret)
		}
	}
}
