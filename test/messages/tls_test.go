package messages

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// A broker on another machine is reached by TLS, with a password that no log shows.
func TestBrokerIsReachedByTLSWithCredentials(t *testing.T) {
	t.Parallel()
	const password = "secret-of-the-broker"
	dir := t.TempDir()
	caFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, caFile, keyFile)
	configFile := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(configFile, fmt.Appendf(nil, `
		tls { cert_file: %q, key_file: %q }
		authorization { user: service, password: %q }`, caFile, keyFile, password),
		0o600); err != nil {
		t.Fatal(err)
	}
	b := startBroker(t, configFile)
	b.connect("tls://service:"+password+"@"+strings.TrimPrefix(b.broker.URL(), "nats://"),
		nats.RootCAs(caFile))
	b.start(1, "NATS_CA_FILE="+caFile)
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)

	// Without the authority, the certificate is not trusted, and the service goes on.
	stranger := service.Start(t, b.db.URL, service.AllowDataLoss, "NATS_URL="+b.natsURL)
	await.Until(t, patience, "the instance says why it has no broker", func() bool {
		return strings.Contains(stranger.Stderr.String(), "x509: ")
	})
	for _, in := range []*service.Instance{b.instance(0), stranger} {
		if strings.Contains(in.Stderr.String(), password) {
			t.Error("the log shows the password")
		}
	}
}

// writeCertificate writes a certificate of 127.0.0.1 that is its own authority.
func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	server := httptest.NewTLSServer(nil) // has one
	defer server.Close()
	certificate := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadBrokerSettingsAreProblemsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	const creds = "NATS_CREDS_FILE"
	for want, settings := range map[string][]string{
		"NATS_URL: it is not an address":         {"NATS_URL=user:secret@host"},
		creds + ": open /nowhere":                {"NATS_URL=nats://h", creds + "=/nowhere"},
		creds + " and NATS_CA_FILE mean nothing": {"NATS_CA_FILE=/nowhere"},
	} {
		in := service.Serve(t, pgtest.New(t).URL, settings...)
		if code := in.ExitCode(); code != 1 || !strings.Contains(in.Stderr.String(), want) ||
			strings.Contains(in.Stderr.String(), "secret") {
			t.Errorf("%v: exit code %d, want %q:\n%s", settings, code, want, in.Stderr.String())
		}
	}
}
