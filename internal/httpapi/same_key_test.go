package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// Rows 4 and 5 of the contract.
func TestSameKeyAgainGetsTheSameBytesAndChargesOnce(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		order := aliceToShop(4999).with("reference", "order-1017").with("metadata", body{"size": "ü", "colour": "<red> & \u2028"})
		first := m.charge("k", order).want(http.StatusCreated).wantFresh()
		for range 3 { // the third is the one that fineract failed (BUGS 10)
			m.retry("k", order).wantReplayOf(first)
		}
		m.wantShopGot(4999)

		location := first.header.Get("Location")
		if location != "/payments/"+first.paymentID() {
			t.Errorf("Location is %q", location)
		}
		if now := m.get(location).want(http.StatusOK); string(now.body) != string(first.body) {
			t.Errorf("the payment at its Location is\n%s, and not\n%s", now.body, first.body)
		}
	})
}

// Row 4: the answer is stored beside the payment, and carries the database's time, read after the locks.
func TestAPaymentIsAsOldAsItsLocks(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		answers := make(chan *answer, 1)
		go func() { answers <- m.charge("k", aliceToShop(100)) }()
		m.awaitInFlight(1)
		waited := m.databaseTime()
		release()
		var payment struct {
			CreatedAt time.Time `json:"created_at"`
		}
		(<-answers).want(http.StatusCreated).decode(&payment)
		if payment.CreatedAt.Before(waited.Truncate(time.Microsecond)) || payment.CreatedAt.After(m.databaseTime()) {
			t.Errorf("made at %s, although it got its locks after %s", payment.CreatedAt, waited)
		}
	})
}

func (m *merchant) databaseTime() (now time.Time) {
	m.t.Helper()
	if err := m.db.Pool.QueryRow(context.Background(), `SELECT clock_timestamp()`).Scan(&now); err != nil {
		m.t.Fatal(err)
	}
	return now
}

// Row 7. Returning the first answer in silence, or another account's data: FINERACT-2485 (BUGS 9).
func TestAKeyBelongsToItsFirstRequest(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		first := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		for range 2 {
			refused := m.retry("k", aliceToShop(101)).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused").wantFresh()
			if refused.paymentID() != first.paymentID() {
				t.Errorf("the original is called %s, and is %s", refused.paymentID(), first.paymentID())
			}
			m.retry("k", aliceToShop(100)).wantReplayOf(first)
		}
		m.wantShopGot(100)
	})
}

// A key belongs to the merchant and not to a credential, so that a caller can change its API key between two tries. One that was
// derived from the credential of each try made two charges: flexprice 2488 (BUGS 5).
func TestARetryUnderAnotherAPIKeyIsAReplay(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		first, renewed := m.charge("k", aliceToShop(100)).want(http.StatusCreated), m.as(m.secondKey())
		renewed.retry("k", aliceToShop(100)).wantReplayOf(first)
		renewed.retry("k", aliceToShop(101)).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
		m.wantShopGot(100)
	})
}

// Row 12. A hash of the body in place of a key makes one charge of these (midaz, BUGS 11).
func TestEqualRequestsUnderTwoKeysAreTwoPayments(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		one := m.charge("k1", aliceToShop(100)).want(http.StatusCreated)
		two := m.retry("k2", aliceToShop(100)).want(http.StatusCreated).wantFresh()
		if one.paymentID() == two.paymentID() {
			t.Error("two keys, one payment")
		}
		m.wantBalance("shop", 200)
		m.wantPayments(2)
	})
}

// Row 15, for what is written on a payment; TestAReplayTellsWhatWasAndNotWhatIs is about its money.
func TestAReplaySaysWhatWasAnsweredAndNotWhatIsTrueNow(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		first := m.charge("k", aliceToShop(100).with("description", "as it was")).want(http.StatusCreated)
		m.patch(first.header.Get("Location"), `"1"`, `{"description":"as it is"}`).want(http.StatusOK)
		m.retry("k", aliceToShop(100).with("description", "as it was")).wantReplayOf(first)
		now := m.get(first.header.Get("Location")).want(http.StatusOK)
		if !strings.Contains(string(now.body), "as it is") || now.header.Get("ETag") != `"2"` {
			t.Errorf("GET shows version %s: %s", now.header.Get("ETag"), now.body)
		}
	})
}

// Row 18, and a key that was kept in process memory: paygate (BUGS 1).
func TestARestartedInstanceKnowsEveryKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	before := newInstance(t, db.URL)
	m := newMerchant(t, db, before, before)
	paid := m.charge("paid", aliceToShop(100)).want(http.StatusCreated)
	declined := m.charge("declined", aliceToShop(aliceHas)).wantProblem(http.StatusPaymentRequired, "insufficient_funds")
	before.stop()

	m.other = newInstance(t, db.URL)
	m.retry("paid", aliceToShop(100)).wantReplayOf(paid)
	m.retry("declined", aliceToShop(aliceHas)).wantReplayOf(declined)
	m.retry("paid", aliceToShop(200)).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
	m.wantBalance("shop", 100)
}

// A caller who has lost everything but the key finds the payment by it.
func TestThePaymentOfAKeyCanBeFound(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		m.wantUnderKey("k", "")
		first := m.charge("k", aliceToShop(100)).want(http.StatusCreated)
		for _, spelling := range []string{"k", "%22k%22", "+k+"} {
			m.wantUnderKey(spelling, string(first.body))
		}
	})
}

// wantUnderKey checks which payment is found by its key, as the key is written in a query; "" is none.
func (m *merchant) wantUnderKey(key, payment string) {
	m.t.Helper()
	found := m.get("/payments?idempotency_key=" + key).want(http.StatusOK)
	if want := `{"data":[` + payment + `],"next_cursor":null}`; string(found.body) != want {
		found.fail("is not %s", want)
	}
}

// Not storing an answer because of its size made the retry execute again: gofiber 4287 (BUGS 19).
func TestTheLargestAnswerIsReplayedWhole(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		pairs := map[string]string{}
		for i := range 50 {
			pairs[strings.Repeat("k", 38)+string(rune('A'+i/26))+string(rune('a'+i%26))] = strings.Repeat("€", 380)
		}
		large := aliceToShop(100).with("metadata", pairs).with("description", strings.Repeat("😀", 500)).
			with("reference", strings.Repeat("ß", 128))
		first := m.charge("k", large).want(http.StatusCreated)
		if len(first.body) < 60_000 {
			t.Errorf("only %d bytes", len(first.body))
		}
		m.retry("k", large).wantReplayOf(first)
		m.wantShopGot(100)
	})
}

// PUT is idempotent by itself: a key that comes with it is not used up, and still charges.
func TestARequestThatTakesNoKeyUsesNoneUp(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		m.send(m.first, call{
			method: http.MethodPut, path: "/accounts/new",
			header: http.Header{"Idempotency-Key": {"k"}}, body: `{"currency":"USD"}`,
		}).want(http.StatusCreated)
		m.retry("k", aliceToShop(100)).want(http.StatusCreated).wantFresh()
	})
}
