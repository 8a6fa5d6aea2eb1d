package httpapi_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// begin sends the first n bytes of a charge to the first instance, all of them if n is 0, and does not wait for an answer.
func (m *merchant) begin(key string, b body, n int) *net.TCPConn {
	m.t.Helper()
	text := b.String()
	text = m.headOfCharge(len(text), "Idempotency-Key: "+key) + text
	if n == 0 {
		n = len(text)
	}
	conn := m.connect(m.first)
	if _, err := conn.Write([]byte(text[:n])); err != nil {
		m.t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// hangUp ends the connection without a farewell.
func (m *merchant) hangUp(conn *net.TCPConn) {
	m.t.Helper()
	if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
		m.t.Fatal(err)
	}
}

// awaitFailure waits until the first instance has logged a failure with the code, after what do does.
func (m *merchant) awaitFailure(code string, do func()) {
	m.t.Helper()
	before := m.first.log.count("code=" + code)
	do()
	await(m.t, "the instance has noticed", func() bool { return m.first.log.count("code="+code) > before })
}

// Row 17 of the contract; FAULTS 2.
func TestAClaimedChargeCompletesAlthoughItsCallerHasGone(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		conn := m.begin("k", aliceToShop(100), 0)
		m.awaitInFlight(1)
		m.awaitFailure("outcome_unknown", func() { m.hangUp(conn) })
		release()

		retried := m.retry("k", aliceToShop(100)).want(http.StatusCreated)
		if !retried.replayed() {
			retried.fail("is new: the charge that was under way has been given up")
		}
		m.charge("k", aliceToShop(100)).wantReplayOf(retried)
		m.wantShopGot(100)
	})
}

// The other half of FAULTS 2: whole or nothing.
func TestAChargeWhoseCallerLeavesTheQueueIsNeverMade(t *testing.T) {
	withSettings(t, settings{workers: 1}, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		busy := make(chan *answer, 1)
		go func() { busy <- m.charge("busy", aliceToShop(1)) }()
		m.awaitInFlight(1)
		conn := m.begin("k", aliceToShop(100), 0)
		m.awaitFailure("unavailable", func() {
			if err := conn.Close(); err != nil { // with a farewell, so that the whole request certainly arrives
				t.Fatal(err)
			}
		})
		release()

		(<-busy).want(http.StatusCreated)
		m.wantPayments(1)
		retried := m.retry("k", aliceToShop(100)).want(http.StatusCreated).wantFresh()
		m.charge("k", aliceToShop(100)).wantReplayOf(retried)
		m.wantBalance("shop", 101)
	})
}

// FAULTS 2 and 7 together: callers come and go, and what is left of them is one charge.
func TestCallersWhoLeaveAtAnyMomentLeaveOneCharge(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		const keys = 20
		for i := range keys {
			key := fmt.Sprint("key ", i)
			for range 3 {
				m.hangUp(m.begin(key, aliceToShop(1), 0))
			}
			first := m.retry(key, aliceToShop(1)).want(http.StatusCreated)
			m.charge(key, aliceToShop(1)).wantReplayOf(first)
		}
		m.wantBalance("shop", keys)
		m.wantPayments(keys)
	})
}

// FAULTS 5.
func TestARequestThatIsCutShortIsNotExecuted(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		conn := m.begin("k", aliceToShop(100), len(m.headOfCharge(0, "Idempotency-Key: k"))+20)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		m.readCharge(m.exchange(conn, ""), "k").wantProblem(http.StatusBadRequest, "invalid_request")
		m.wantPayments(0)
		m.retry("k", aliceToShop(100)).want(http.StatusCreated).wantFresh()
	})
}

// Row 19: who waits too long is told so, and the same key finds out.
func TestAnOutcomeThatIsNotKnownInTimeIsFoundOutByTheSameKey(t *testing.T) {
	withSettings(t, settings{workers: 1, requestTimeout: 2 * time.Second}, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		answers := make(chan *answer, 2)
		go func() { answers <- m.charge("claimed", aliceToShop(100)) }()
		m.awaitInFlight(1)
		queued := m.charge("queued", aliceToShop(1)).wantProblem(http.StatusServiceUnavailable, "unavailable")
		claimed := (<-answers).wantProblem(http.StatusServiceUnavailable, "outcome_unknown")
		release()

		again := m.retry("claimed", aliceToShop(100)).want(http.StatusCreated)
		if origin := again.header.Get("Original-Request-Id"); origin != claimed.requestID() {
			again.fail("is from the request %q, and not from %q, whose outcome was unknown", origin, claimed.requestID())
		}
		fresh := m.retry("queued", aliceToShop(1)).want(http.StatusCreated).wantFresh()
		if fresh.requestID() == queued.requestID() {
			fresh.fail("has the Request-Id of the one before")
		}
		m.wantBalance("shop", 101)
		m.wantPayments(2)
	})
}

// Row 9: a 503 is not stored. Who is turned away at a full queue comes back under the same key.
func TestWhoIsTurnedAwayMayComeBackWithTheSameKey(t *testing.T) {
	withSettings(t, settings{workers: 1, queueSizeMax: 2}, func(t *testing.T, m *merchant) {
		const callers = 10
		release := m.hold("alice")
		busy := make(chan *answer, 1)
		go func() { busy <- m.charge("busy", aliceToShop(1)) }()
		m.awaitInFlight(1)

		answers := make(chan *answer, callers)
		key := func(i int) string { return fmt.Sprint("key ", i) }
		for i := range callers {
			go func() { answers <- m.charge(key(i), aliceToShop(1)) }()
		}
		for range callers - 2 {
			(<-answers).wantProblem(http.StatusServiceUnavailable, "overloaded")
		}
		release()
		(<-busy).want(http.StatusCreated)
		for range 2 {
			(<-answers).want(http.StatusCreated).wantFresh()
		}
		m.wantPayments(3)
		for i := range callers {
			m.retry(key(i), aliceToShop(1)).want(http.StatusCreated)
		}
		m.wantBalance("shop", callers+1)
	})
}
