package torture

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// The request is not lost, only late: it arrives after the client has given up and has
// sent it again.
func TestRequestThatArrivesAfterItsRetryIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	r := startRelay(t, b.instance(0))
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if answer := b.merchant.Charge(impatient, r.url(), key(0),
		journal.NewCharge(100)); answer.Class() != journal.Unknown {
		t.Fatalf("a request that never arrived was answered %v", answer)
	}
	b.nothingStored(key(0))
	retry := b.charge(0, key(0))
	if retry.Replayed() {
		t.Errorf("the first to arrive was answered %v", retry)
	}
	close(r.hold)
	if late := <-r.answers; !bytes.HasSuffix(late, retry.Body) ||
		!bytes.Contains(late, []byte("Idempotent-Replayed: true")) {
		t.Errorf("the late one was answered\n%s\nwant a replay of\n%s", late, retry.Body)
	}
	b.chargedOnce(key(0), retry)
}

// The client is gone after 0 to 50 ms, and sends nothing but a reset.
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

// vanish sends a charge, stays for that long, and resets the connection without having
// read anything.
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

// The answer is lost after the commit, or cut short at any byte. The client can tell,
// and its retry gets the same bytes.
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
