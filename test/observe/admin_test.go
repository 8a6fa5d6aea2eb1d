package observe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// Metrics and profiles may tell of callers and of secrets in memory.
func TestMetricsAndProfilesAreForTheAdminListenerOnly(t *testing.T) {
	t.Parallel()
	in, m := start(t)
	for _, path := range []string{
		"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=0.01", "/debug/pprof/symbol",
	} {
		if status, body := get(t, in.AdminURL()+path); status != http.StatusOK || body == "" {
			t.Errorf("the admin listener answers %s with %d and %d bytes", path, status, len(body))
		}
		answer := m.Do(t.Context(), http.MethodGet, in.URL()+path, "", nil)
		if answer.Status != http.StatusNotFound {
			t.Errorf("the public listener answers a merchant's %s with %v", path, answer)
		}
	}
	for _, path := range []string{
		"/debug/pprof/cmdline", // a command line may hold a password
		"/payments", "/accounts/world", "/",
	} {
		answer := m.Do(t.Context(), http.MethodGet, in.AdminURL()+path, "", nil)
		if answer.Status != http.StatusNotFound {
			t.Errorf("the admin listener answers %s with %v", path, answer)
		}
	}
}

func TestAdminListenerReportsTheShutdown(t *testing.T) {
	t.Parallel()
	in, _ := start(t, "SHUTDOWN_DELAY=20s")
	idle := connect(t, in)
	if answer := idle.livez(); answer.Close {
		t.Error("a connection ends before the shutdown")
	}
	admin := in.AdminURL()
	if status, body := get(t, admin+"/readyz"); status != http.StatusOK || body != "ready\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	in.Signal(syscall.SIGTERM)
	await.Until(t, 10*time.Second, "the instance is not ready any more", func() bool {
		status, body := get(t, admin+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "shutting down")
	})
	if status, body := get(t, admin+"/livez"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/livez: %d %s", status, body)
	}
	wantMetrics(t, in, `paymentsvc_ready 0`)
	if answer := idle.livez(); !answer.Close {
		t.Error("an idle connection is not closed with its next answer")
	}
	idle.awaitEnd()
	if _, body := get(t, in.URL()+"/readyz"); body != "not ready\n" {
		t.Errorf("the public /readyz says why: %s", body)
	}
}

// connection is one that is kept between requests.
type connection struct {
	net.Conn
	t      *testing.T
	reader *bufio.Reader
}

func connect(t *testing.T, in *service.Instance) *connection {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(in.URL(), "http://"))
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(30 * time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &connection{conn, t, bufio.NewReader(conn)}
}

// livez sends a request and reads its answer.
func (c *connection) livez() *http.Response {
	c.t.Helper()
	_, err := c.Write([]byte("GET /livez HTTP/1.1\r\nHost: service\r\n\r\n"))
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// awaitEnd waits until the instance closes the connection.
func (c *connection) awaitEnd() {
	c.t.Helper()
	if _, err := c.reader.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Errorf("the connection stays open: %v", err)
	}
}

func TestIdleConnectionEndsAtItsSetting(t *testing.T) {
	t.Parallel()
	in, _ := start(t, "IDLE_TIMEOUT=1s")
	idle := connect(t, in)
	idle.livez()
	idle.awaitEnd()
}

// requests is the line of the metrics for requests of one kind.
func requests(code, method, route string, status, n int) string {
	const total = `paymentsvc_http_requests_total`
	return fmt.Sprintf(`%s{code="%s",method="%s",route="%s",status="%d"} %d`,
		total, code, method, route, status, n)
}

// wantMetrics fails the test unless the instance's metrics have these lines before
// long: a request is counted after it has been answered.
func wantMetrics(t *testing.T, in *service.Instance, want ...string) {
	t.Helper()
	missing := want
	defer func() {
		if t.Failed() {
			t.Logf("not in the metrics: %s", strings.Join(missing, "\n"))
		}
	}()
	await.Until(t, 10*time.Second, "the metrics say what has happened", func() bool {
		_, text := get(t, in.AdminURL()+"/metrics")
		lines := map[string]bool{}
		for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
			lines[scanner.Text()] = true
		}
		missing = nil
		for _, line := range want {
			if !lines[line] {
				missing = append(missing, line)
			}
		}
		return len(missing) == 0
	})
}

func TestMetricsCountChargesReplaysAndDeclines(t *testing.T) {
	t.Parallel()
	in, m := start(t)
	poor := journal.Charge{
		Amount: 100, Currency: journal.Currency, Source: journal.Poor,
		Destination: journal.World,
	}
	for _, charge := range []struct {
		key    string
		charge journal.Charge
		status int
	}{
		{"one", journal.NewCharge(100), 201},
		{"one", journal.NewCharge(100), 201},
		{"one", journal.NewCharge(101), 422},
		{"two", journal.NewCharge(100), 201},
		{"poor", poor, 402},
		{"poor", poor, 402},
	} {
		answer := m.Charge(t.Context(), in.URL(), charge.key, charge.charge)
		if answer.Status != charge.status {
			t.Fatalf("want %d: %v", charge.status, answer)
		}
	}
	wantMetrics(t, in,
		`paymentsvc_ready 1`,
		`paymentsvc_waiting_callers 0`,
		requests("", "POST", "/payments", 201, 3),
		requests("idempotency_key_reused", "POST", "/payments", 422, 1),
		requests("insufficient_funds", "POST", "/payments", 402, 2),
		requests("", "PUT", "/accounts/{id}", 201, 5),
		`paymentsvc_http_request_duration_seconds_count{method="POST",route="/payments"} 6`,
		`paymentsvc_replays_total{status="201"} 1`,
		`paymentsvc_replays_total{status="402"} 1`,
		`paymentsvc_declines_total{code="insufficient_funds",route="/payments"} 1`,
		`paymentsvc_transaction_duration_seconds_count{result="committed"} 6`,
		`paymentsvc_transaction_duration_seconds_count{result="outcome_unknown"} 0`,
		`paymentsvc_transaction_keys_sum 6`,
		`paymentsvc_queue_wait_seconds_count 6`,
		`paymentsvc_db_pool_connections_max{pool="money"} 2`,
		`paymentsvc_db_pool_connections_max{pool="general"} 8`,
		`paymentsvc_db_pool_connections_max{pool="probe"} 2`,
	)
}

func TestAPortThatIsTakenIsNamedByItsSetting(t *testing.T) {
	t.Parallel()
	in, _ := start(t)
	taken := strings.TrimPrefix(in.AdminURL(), "http://")
	db := pgtest.New(t)
	for _, name := range []string{"ADMIN_ADDR", "LISTEN_ADDR"} {
		second := service.Serve(t, db.URL, service.AllowDataLoss, name+"="+taken)
		endsSaying(t, second.Child, name, taken, "address already in use")
	}
}

func TestAnInstanceNeedsNoAdminListener(t *testing.T) {
	t.Parallel()
	in, m := start(t, "ADMIN_ADDR=off")
	answer := m.Charge(t.Context(), in.URL(), "k", journal.NewCharge(100))
	if answer.Status != http.StatusCreated {
		t.Errorf("want a charge: %v", answer)
	}
	if in.Stderr.Count("serving health") > 0 {
		t.Error("it says that it has one all the same")
	}
}
