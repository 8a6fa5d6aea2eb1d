package observe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// renewalTime is in which a renewed certificate is served.
const renewalTime = 10 * time.Second

// files are those of a certificate, with the settings that name them.
type files struct{ cert, key string }

func newFiles(t *testing.T) files {
	t.Helper()
	dir := t.TempDir()
	return files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
}

func (f files) settings() []string {
	return []string{"TLS_CERT_FILE=" + f.cert, "TLS_KEY_FILE=" + f.key}
}

// issue writes a new certificate for 127.0.0.1, signed by itself, under a key of its
// own.
func issue(t *testing.T, f files, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "paymentsvc test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, f.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// client trusts these certificates and no other.
func client(t *testing.T, versions *tls.Config, trusted ...*x509.Certificate) *http.Client {
	t.Helper()
	versions.RootCAs = x509.NewCertPool()
	for _, certificate := range trusted {
		versions.RootCAs.AddCert(certificate)
	}
	transport := &http.Transport{TLSClientConfig: versions, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// startTLS starts an instance with the certificate, and returns its address once it is
// ready.
func startTLS(
	t *testing.T, f files, trusted *x509.Certificate, settings ...string,
) (in *service.Instance, url string) {
	t.Helper()
	settings = append(append(settings, service.AllowDataLoss), f.settings()...)
	in = service.Serve(t, pgtest.New(t).URL, settings...)
	url = "https" + strings.TrimPrefix(in.URL(), "http")
	c := client(t, &tls.Config{}, trusted)
	await.Until(t, renewalTime, "the instance is ready", func() bool {
		answer, err := c.Get(url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return in, url
}

func TestConnectionsOverTheLimitAreRefusedByTLS(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	certificate := issue(t, f, 1)
	_, url := startTLS(t, f, certificate, "MAX_CONNECTIONS=1")
	config := client(t, &tls.Config{}, certificate).Transport.(*http.Transport).TLSClientConfig
	held, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	answer, err := client(t, &tls.Config{}, certificate).Get(url + "/payments")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a connection over the limit is answered %d", answer.StatusCode)
	}
}

// One request at a time on a connection, so that a bound on connections is a bound on
// requests: HTTP/1.1, also for who offers HTTP/2.
func TestTheAPISpeaksTLS(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	certificate := issue(t, f, 1)
	in, url := startTLS(t, f, certificate)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		answer, err := client(t, &tls.Config{MinVersion: version, MaxVersion: version},
			certificate).Get(url + "/payments")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.ProtoMajor != 1 || answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("by %s it answers %d in %s", tls.VersionName(version), answer.StatusCode,
				answer.Proto)
		}
	}
	if served(url, tls.VersionTLS11) != 0 {
		t.Error("it speaks TLS 1.1")
	}
	if status, _ := get(t, in.URL()+"/livez"); status != http.StatusBadRequest {
		t.Errorf("without TLS it answers %d", status)
	}
	if status, _ := get(t, in.AdminURL()+"/livez"); status != http.StatusOK {
		t.Errorf("the admin listener, which has no TLS, answers %d", status)
	}
}

// served is the number of the certificate that a new connection gets, of at most that
// version; 0 if none can be made.
func served(url string, version uint16) int64 {
	// any certificate
	config := &tls.Config{
		MinVersion: tls.VersionTLS10, MaxVersion: version,
		InsecureSkipVerify: true,
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), config)
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestARenewedCertificateIsServedAndABrokenOneIsNot(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	first := issue(t, f, 1)
	in, url := startTLS(t, f, first)
	kept := client(t, &tls.Config{}, first)
	ask := func() {
		t.Helper()
		answer, err := kept.Get(url + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		// or the connection is not kept
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	issue(t, f, 2)
	await.Until(t, renewalTime, "the second certificate is served", func() bool {
		return served(url, tls.VersionTLS13) == 2
	})
	ask() // on the connection that it has

	oldKey, err := os.ReadFile(f.key)
	if err != nil {
		t.Fatal(err)
	}
	issue(t, f, 3)
	newKey, err := os.ReadFile(f.key)
	if err != nil {
		t.Fatal(err)
	}
	// as in the middle of a renewal: the certificate is new, and the key is not
	write(t, f.key, oldKey)
	await.Until(t, renewalTime, "the instance complains", func() bool {
		if n := served(url, tls.VersionTLS13); n != 2 && n != 3 { // it may have looked just before
			t.Fatalf("certificate %d is served", n)
		}
		return in.Stderr.Count("the last good one stays") > 0
	})
	write(t, f.key, newKey)
	await.Until(t, renewalTime, "the third certificate is served", func() bool {
		return served(url, tls.VersionTLS13) == 3
	})
}

func TestABadCertificateIsAProblemOfTheConfiguration(t *testing.T) {
	t.Parallel()
	good, other := newFiles(t), newFiles(t)
	issue(t, good, 1)
	issue(t, other, 2)
	missing := good.cert + ".missing"
	const both = "TLS_CERT_FILE and TLS_KEY_FILE: give both or neither"
	for _, row := range []struct{ settings, says []string }{
		{
			files{good.cert, other.key}.settings(),
			[]string{"TLS_CERT_FILE", "TLS_KEY_FILE", "does not match", good.cert, other.key},
		},
		{files{good.cert, missing}.settings(), []string{"TLS_KEY_FILE", "no such file", missing}},
		{files{good.key, good.key}.settings(), []string{"TLS_CERT_FILE"}},
		{[]string{"TLS_CERT_FILE=" + good.cert}, []string{both}},
		{[]string{"TLS_KEY_FILE=" + good.key}, []string{both}},
	} {
		child := service.Launch(t, append(row.settings, "REQUEST_TIMEOUT=soon"), "serve")
		endsSaying(t, child, append(row.says, `REQUEST_TIMEOUT: "soon"`, "DATABASE_URL")...)
	}
}
