package torture

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// Row 1. The request is not lost, only late: it arrives after the client has given up and sent it again.
func TestRequestThatArrivesAfterItsRetryIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	r := startRelay(t, b.instance(0))
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if answer := b.merchant.Charge(impatient, r.url(), key(0), journal.NewCharge(100)); answer.Class() != journal.Unknown {
		t.Fatalf("a request that never arrived was answered %v", answer)
	}
	b.nothingStored(key(0))
	retry := b.charge(0, key(0))
	if retry.Replayed() {
		t.Errorf("the first to arrive was answered %v", retry)
	}
	close(r.hold)
	if late := <-r.answers; !bytes.HasSuffix(late, retry.Body) || !bytes.Contains(late, []byte("Idempotent-Replayed: true")) {
		t.Errorf("the late one was answered\n%s\nwant a replay of\n%s", late, retry.Body)
	}
	b.chargedOnce(key(0), retry)
}

// Row 2: the client is gone after 0 to 50 ms, and sends nothing but a reset.
func TestVanishedClientsChargeIsWholeOrAbsent(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	const clients = 40
	done := 0
	for i := range clients {
		stay := time.Duration(i) * 50 * time.Millisecond / clients
		b.vanish(key(i), stay)
		retry := b.charge(0, key(i))
		if retry.Replayed() {
			done++
		}
		b.chargedOnce(key(i), retry, b.charge(0, key(i)))
	}
	if done == 0 {
		t.Error("no charge was made for a client that had gone, so this test shows too little")
	}
	t.Logf("%d of %d charges were made for clients that had gone", done, clients)
}

// vanish sends a charge, stays for that long, and resets the connection without having read anything.
func (b *bench) vanish(key string, stay time.Duration) {
	b.Helper()
	conn := b.dial()
	head, body := b.merchant.Raw(key, journal.NewCharge(100))
	if _, err := conn.Write(append(head, body...)); err != nil {
		b.Fatal(err)
	}
	<-time.After(stay) // this is the fault, and no condition to wait for
	b.reset(conn)
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

// reset ends a connection with a RST.
func (b *bench) reset(conn *net.TCPConn) {
	b.Helper()
	b.must(conn.SetLinger(0))
	b.must(conn.Close())
}

// Row 2, and case 17 of the contract: the client is gone while its key is claimed and its charge waits for an account.
func TestChargeCompletesThoughItsClientHasGone(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	release := b.hold(`SELECT FROM accounts WHERE merchant_id = $1 AND id = $2 FOR UPDATE`, b.merchant.ID, journal.World)
	conn := b.dial()
	head, body := b.merchant.Raw(key(1), journal.NewCharge(100))
	if _, err := conn.Write(append(head, body...)); err != nil {
		t.Fatal(err)
	}
	b.awaitBackend("the charge waits for its accounts", waitsForLock)
	b.reset(conn)
	release()
	await.Until(t, readyAgainTime, "the charge is made, with nobody there to hear of it", func() bool { return b.payments(key(1)) == 1 })
	retry := b.charge(0, key(1))
	if !retry.Replayed() {
		t.Errorf("the retry was answered %v", retry)
	}
	b.chargedOnce(key(1), retry)
}

// Rows 3 and 4: the answer is lost after the commit, or cut short at any byte. Whoever has not got all of it knows
// that, and gets the same bytes when asking again.
func TestAnswerThatWasLostOrCutShortIsGivenAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	r := startRelay(t, b.instance(0))
	close(r.hold)
	for i, cut := range []func(whole int) int{
		func(int) int { return 0 },
		func(int) int { return 1 },
		func(int) int { return 40 },
		func(whole int) int { return whole / 4 },
		func(whole int) int { return whole / 2 },
		func(whole int) int { return whole * 3 / 4 },
		func(whole int) int { return whole - 1 },
	} {
		r.cut = cut
		torn := b.merchant.Charge(t.Context(), r.url(), key(i), journal.NewCharge(100))
		if torn.Class() != journal.Unknown {
			t.Errorf("an answer that was cut short was taken for %v", torn)
		}
		said := <-r.answers
		if !bytes.Contains(said, []byte("\r\nContent-Length: ")) {
			t.Errorf("an answer does not say how long it is:\n%s", said)
		}
		retry := b.charge(0, key(i))
		if !retry.Replayed() || !bytes.HasSuffix(said, append([]byte("\r\n\r\n"), retry.Body...)) {
			t.Errorf("the retry was answered %v, and the first\n%s", retry, said)
		}
		b.chargedOnce(key(i), retry)
	}
}

// Row 5. What has come may be a whole JSON value: it is still not what the client wanted to say.
func TestBodyThatWasCutShortChargesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.chargedOnce(key(0), b.charge(0, key(0)))
	head, body := b.merchant.Raw(key(1), journal.NewCharge(100))
	padded := bytes.Replace(head, []byte("Content-Length: "), []byte("Content-Length: 1"), 1) // 100 or 1000 bytes more
	for _, row := range []struct {
		name  string
		sent  []byte
		reset bool
	}{
		{"no body", head, false},
		{"half a head", head[:len(head)/2], false},
		{"one byte", append(bytes.Clone(head), body[:1]...), false},
		{"half", append(bytes.Clone(head), body[:len(body)/2]...), false},
		{"all but one byte", append(bytes.Clone(head), body[:len(body)-1]...), false},
		{"all but one byte, then a reset", append(bytes.Clone(head), body[:len(body)-1]...), true},
		{"a whole value, with more announced", append(bytes.Clone(padded), body...), false},
		{"an unfinished chunked body", chunked(head, body), false},
	} {
		conn := b.dial()
		if _, err := conn.Write(row.sent); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if row.reset {
			b.reset(conn)
			continue
		}
		b.must(conn.CloseWrite())
		if status := lastStatus(t, conn); status != 0 && status != http.StatusBadRequest {
			t.Errorf("%s was answered %d", row.name, status)
		}
	}
	b.nothingStored(key(1))
	answer := b.charge(0, key(1))
	if answer.Replayed() {
		t.Errorf("the first whole request was answered %v", answer)
	}
	b.chargedOnce(key(1), answer)
}

// chunked is a request whose body has no announced length, and no end.
func chunked(head, body []byte) []byte {
	head, _, _ = bytes.Cut(head, []byte("Content-Length"))
	request := append(bytes.Clone(head), "Transfer-Encoding: chunked\r\n\r\n"...)
	request = append(request, "1000\r\n"...)
	return append(request, body...)
}

// lastStatus reads to the end of the connection, and is the status of the answer, 0 if there was none.
func lastStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(readyAgainTime)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Errorf("reading an answer: %v", err)
	}
	return answer.StatusCode
}
