package torture

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// More charges wait than may. Those over the limit are put off at once, /readyz says that there is no room,
// and both end with the queue.
func TestFullQueuePutsOffAtOnceAndRecoversByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, "COMMIT_WORKERS=1", "COMMIT_QUEUE_SIZE_MAX=5")
	b.chargedOnce(key(0), b.charge(0, key(0)))
	release := b.hold(`SELECT FROM accounts WHERE merchant_id = $1 AND id = $2 FOR UPDATE`, b.merchant.ID, journal.World)
	const callers = 30
	answers := make(chan journal.Answer, callers)
	send := func(i int) { go func() { answers <- b.charge(0, key(i)) }() }
	send(1)
	b.awaitBackend("the one worker is busy", waitsForLock)
	for i := 2; i <= callers; i++ {
		send(i)
	}
	for range callers - 1 - 5 {
		answer := <-answers
		b.putOff(answer, margin)
		if answer.Code() != "overloaded" {
			t.Errorf("a charge that found the queue full was answered %v", answer)
		}
	}
	b.healthAnswers(0, http.StatusServiceUnavailable)
	release()
	for range 1 + 5 {
		if answer := <-answers; answer.Class() != journal.Ack {
			t.Errorf("a charge that had a place was answered %v", answer)
		}
	}
	b.instance(0).AwaitReady(margin)
	for i := range callers + 1 {
		b.chargedOnce(key(i), b.charge(0, key(i)), b.charge(0, key(i)))
	}
	b.no5xxStored()
}

// A request that needs a connection for reads when all are taken is put off in time, also while
// its API key is looked up. Charges go on, so the instance stays ready; and it recovers by itself.
func TestReadsArePutOffInTimeWhenEveryReadConnectionIsTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, setBudget, "READ_CONNECTIONS=1")
	b.chargedOnce(key(0), b.charge(0, key(0)))
	url := b.instance(0).URL()
	stranger := journal.CreateMerchant(t, b.url)
	get := func(m *journal.Merchant, path string) journal.Answer {
		return m.Do(t.Context(), http.MethodGet, url+path, "", nil)
	}
	release := b.hold(`LOCK TABLE api_keys`)
	asked := map[string]<-chan journal.Answer{
		"stranger": started(func() journal.Answer { return get(stranger, "/accounts/world") }), // whose key is looked up
	}
	await.Until(t, margin, "the connection is taken", func() bool { return b.backends(waitsForLock) > 0 })

	for what, send := range map[string]func() journal.Answer{
		"GET of an account": func() journal.Answer { return get(b.merchant, "/accounts/world") },
		"GET of a payment":  func() journal.Answer { return get(b.merchant, "/payments/pay_00000000000070008000000000000000") },
		"list of payments":  func() journal.Answer { return get(b.merchant, "/payments?idempotency_key=x") },
		"PUT of an account": func() journal.Answer {
			return b.merchant.Do(t.Context(), http.MethodPut, url+"/accounts/new", "", []byte(`{"currency":"USD"}`))
		},
	} {
		asked[what] = started(send)
	}
	b.chargedOnce(key(1), b.charge(0, key(1)))
	b.healthAnswers(0, http.StatusOK)
	for what, answer := range asked {
		answer := <-answer
		t.Logf("%s: %v", what, answer)
		b.putOff(answer, budget+margin)
	}
	release()
	await.Until(t, readyAgainTime, "an account can be read", func() bool {
		return get(b.merchant, "/accounts/world").Status == http.StatusOK
	})
}

// As many clients as may be connected, who say nothing. The others are told so, health is told to everybody, and it ends by
// itself when the silent ones are cut off.
func TestFullHouseTellsOthersSoAndRecoversByItself(t *testing.T) {
	t.Parallel()
	const most = 50
	b := newBench(t, 1, fmt.Sprint("MAX_CONNECTIONS=", most))
	in := b.instance(0)
	var silent []net.Conn
	for range most {
		silent = append(silent, b.dial())
	}
	await.Until(t, margin, "one connection more is told so", func() bool {
		answer := b.fresh("GET /accounts/world HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer " + b.merchant.APIKey + "\r\n\r\n")
		return strings.HasPrefix(answer, "HTTP/1.1 503 ") && strings.Contains(answer, `"code":"overloaded"`) &&
			strings.Contains(answer, "\r\nRetry-After: ")
	})
	b.healthAnswers(0, http.StatusServiceUnavailable)
	in.AwaitReady(10 * time.Second) // five seconds are the time for a request's head
	b.chargedOnce(key(0), b.charge(0, key(0)))
	for _, conn := range silent {
		b.must(conn.SetReadDeadline(time.Now().Add(margin)))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("a silent connection is still there: %v", err)
		}
	}
}

// fresh sends a request on a connection of its own, and is all that comes back until the service closes it.
func (b *bench) fresh(request string) string {
	b.Helper()
	conn := b.dial()
	defer func() { _ = conn.Close() }()
	b.must(conn.SetDeadline(time.Now().Add(margin)))
	_, err := conn.Write([]byte(request))
	b.must(err)
	answer, _ := io.ReadAll(conn) // of a connection that is kept open, what has come until the deadline
	return string(answer)
}

// dial is a connection to the first instance, for what no HTTP client does.
func (b *bench) dial() *net.TCPConn {
	b.Helper()
	conn, err := net.Dial("tcp", b.instance(0).URL()[len("http://"):])
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}
