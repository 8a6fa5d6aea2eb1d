package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// FAULTS 6 and 7. A concurrent duplicate that answered 500: fineract 3933, pay-connector 4460 (BUGS 8). The same key twice
// in one batch, which crashed the ledger: formance 1633 (BUGS 7).
func TestSameKeyAtTheSameMomentChargesOnce(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for round, n := range []int{2, 3, 10, 100} {
			key := fmt.Sprint("sent ", n, " times")
			answers := m.crowd(n, func(int) (string, body) { return key, aliceToShop(7).with("reference", key) })
			wantOneExecution(t, answers).want(http.StatusCreated)
			m.wantBalance("shop", 7*int64(round+1))
			m.wantPayments(round + 1)
		}
	})
}

// The next two are not parallel: a crowd of thousands needs the whole machine.

func TestSameKeyAThousandTimesAtOnceChargesOnce(t *testing.T) {
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	newMerchant(t, db, in, in).wantCrowdChargedOnce(1_000)
}

func TestSameKeyTwoThousandTimesAtOnceAcrossTwoInstancesChargesOnce(t *testing.T) {
	db := pgtest.New(t)
	newMerchant(t, db, newInstance(t, db.URL), newInstance(t, db.URL)).wantCrowdChargedOnce(2_000)
}

func (m *merchant) wantCrowdChargedOnce(n int) {
	m.t.Helper()
	answers := m.crowd(n, func(int) (string, body) { return "k", aliceToShop(7) })
	wantOneExecution(m.t, answers).want(http.StatusCreated)
	m.wantShopGot(7)
}

// A decline is an answer like any other, also to a crowd.
func TestSameKeyAtTheSameMomentIsDeclinedOnce(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		tooMuch := aliceToShop(aliceHas+1).with("reference", "order-1017")
		answers := m.crowd(50, func(int) (string, body) { return "k", tooMuch })
		wantOneExecution(t, answers).wantProblem(http.StatusPaymentRequired, "insufficient_funds")
		m.charge("a smaller order", aliceToShop(1).with("reference", "order-1017")).want(http.StatusCreated)
		m.wantBalance("alice", aliceHas-1)
		m.wantPayments(2)
	})
}

// FAULTS 8.
func TestOneKeyWithTwoBodiesAtOnceGoesToOneOfThem(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for round := range 5 {
			key := fmt.Sprint("key ", round)
			bodies := []body{aliceToShop(1), aliceToShop(2)}
			var byBody [2][]*answer
			for i, a := range m.crowd(40, func(i int) (string, body) { return key, bodies[i/2%2] }) {
				byBody[i/2%2] = append(byBody[i/2%2], a)
			}
			won, lost := 0, 1
			if byBody[0][0].status != http.StatusCreated {
				won, lost = 1, 0
			}
			first := wantOneExecution(t, byBody[won]).want(http.StatusCreated)
			for _, a := range byBody[lost] {
				a.wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused").wantFresh()
				if a.paymentID() != first.paymentID() {
					a.fail("does not name %s, which won", first.paymentID())
				}
			}
			m.retry(key, bodies[won]).wantReplayOf(first)
			m.wantPayments(round + 1)
		}
	})
}

// wayToChange is what is posted: the end of its path, after the payment's own, and its body.
type wayToChange struct{ path, body string }

// changes are what can be done to a payment of 400 from alice to the shop, each with a rival that must not share its key. aliceLost
// is what she is poorer by after one or the other; nothing is held then.
var changes = []struct {
	name      string
	held      bool // the payment is authorized first
	ways      [2]wayToChange
	status    int // of the answer to either
	aliceLost [2]int64
}{
	{
		name: "capture", held: true, status: http.StatusOK,
		ways:      [2]wayToChange{{"/capture", `{"amount":150}`}, {"/capture", `{"amount":151}`}},
		aliceLost: [2]int64{150, 151},
	},
	{
		name: "cancel", held: true, status: http.StatusOK,
		ways:      [2]wayToChange{{"/cancel", `{}`}, {"/capture", `{}`}},
		aliceLost: [2]int64{0, 400},
	},
	{
		name: "refund", status: http.StatusCreated,
		ways:      [2]wayToChange{{"/refunds", `{"amount":150}`}, {"/refunds", `{"amount":151}`}},
		aliceLost: [2]int64{250, 249},
	},
}

// newPayment makes the payment that is changed, and returns its path.
func (m *merchant) newPayment(key string, held bool) (path string) {
	m.t.Helper()
	return m.charge(key, aliceToShop(400).with("capture", !held)).want(http.StatusCreated).header.Get("Location")
}

// FAULTS 6, 7 and 41, and BUGS 8: the same of what is done to a payment.
func TestSameKeyAtTheSameMomentChangesAPaymentOnce(t *testing.T) {
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
				for round, n := range []int{2, 3, 10, 100} {
					key := fmt.Sprint("sent ", n, " times")
					path := m.newPayment("first, "+key, change.held)
					way := change.ways[0]
					answers := m.crowdOf(n, func(int) (string, string, string) { return key, path + way.path, way.body })
					first := wantOneExecution(t, answers).want(change.status)
					m.repost(key, path+way.path, way.body).wantReplayOf(first)
					m.wantHeld(aliceHas-change.aliceLost[0]*int64(round+1), 0)
				}
			})
		})
	}
}

// FAULTS 8, of what is done to a payment.
func TestOneKeyWithTwoChangesAtOnceGoesToOneOfThem(t *testing.T) {
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
				path := m.newPayment("first", change.held)
				var byWay [2][]*answer
				for i, a := range m.crowdOf(40, func(i int) (string, string, string) {
					way := change.ways[i/2%2]
					return "k", path + way.path, way.body
				}) {
					byWay[i/2%2] = append(byWay[i/2%2], a)
				}
				won, lost := 0, 1
				if byWay[0][0].status != change.status {
					won, lost = 1, 0
				}
				wantOneExecution(t, byWay[won]).want(change.status)
				for _, a := range byWay[lost] {
					a.wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused").wantFresh()
				}
				m.wantHeld(aliceHas-change.aliceLost[won], 0)
			})
		})
	}
}

// Of two requests under one key, one of which is refused and stores nothing, the other gets the key, whichever comes first.
func TestARefusedRequestNeverTakesTheKeyFromAnother(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		for round := range 5 {
			key := fmt.Sprint("key ", round)
			bodies := []body{aliceToShop(1), aliceToShop(1).with("destination_account", "nobody")}
			var paid []*answer
			for i, a := range m.crowd(40, func(i int) (string, body) { return key, bodies[i/2%2] }) {
				if i/2%2 == 0 {
					paid = append(paid, a.want(http.StatusCreated))
					continue
				}
				code := a.want(http.StatusUnprocessableEntity).problem().Code
				if code != "account_not_found" && code != "idempotency_key_reused" {
					a.fail("is neither the refusal nor the news that the key is taken")
				}
			}
			wantOneExecution(t, paid)
			m.wantPayments(round + 1)
		}
	})
}

// Row 5. The draft would let the duplicate have a 409; here it waits and replays.
func TestADuplicateWaitsForTheFirst(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		first, second := make(chan *answer, 1), make(chan *answer, 1)
		go func() { first <- m.charge("k", aliceToShop(100)) }()
		m.awaitInFlight(1)
		go func() { second <- m.retry("k", aliceToShop(100)) }()
		m.awaitInFlight(2)
		release()
		(<-second).wantReplayOf((<-first).want(http.StatusCreated).wantFresh())
		m.wantShopGot(100)
	})
}

// A key that its request gives back is free for the request that waits for it at that moment.
func TestAKeyThatARefusalFreesGoesToWhoWaitsForIt(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		release := m.hold("alice")
		refused, waited := make(chan *answer, 1), make(chan *answer, 1)
		go func() { refused <- m.charge("k", aliceToShop(100).with("destination_account", "nobody")) }()
		m.awaitInFlight(1)
		go func() { waited <- m.retry("k", aliceToShop(100)) }()
		m.awaitInFlight(2)
		release()
		(<-refused).wantProblem(http.StatusUnprocessableEntity, "account_not_found")
		(<-waited).want(http.StatusCreated).wantFresh()
		m.wantShopGot(100)
	})
}

// FAULTS 42.
func TestAHundredWhoSpendEverythingAtOnceAreOneWhoDoes(t *testing.T) {
	onOneInstanceAndAcrossTwo(t, func(t *testing.T, m *merchant) {
		answers := m.crowd(100, func(i int) (string, body) { return fmt.Sprint("key ", i), aliceToShop(aliceHas) })
		paid := 0
		for i, a := range answers {
			if a.status == http.StatusCreated {
				paid++
			} else {
				a.wantProblem(http.StatusPaymentRequired, "insufficient_funds")
			}
			m.chargeOn(m.either(i+1), fmt.Sprint("key ", i), aliceToShop(aliceHas).String()).wantReplayOf(a.wantFresh())
		}
		if paid != 1 {
			t.Errorf("all that alice has was paid %d times", paid)
		}
		m.wantBalance("alice", 0)
		m.wantBalance("shop", aliceHas)
		m.wantPayments(100)
	})
}
