package payments

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A missing answer alone would say that the key has expired.
func TestKeyAtTheProcessorNeverExpires(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newLoneWorker(t, db.URL, func(c *Config) { c.Retention = 1 })
	merchantID := newMerchant(t, s, map[string]int64{"b": 0})
	payment := send(t, s, merchantID, "first", charging(cardToB(30)))
	if _, err := idempotency.Reap(t.Context(), db.Pool, 0, 100); err != nil {
		t.Fatal(err)
	}
	f := &cardFixture{DB: db, s: s, merchant: merchantID, payment: payment, t: t}
	f.want(inProgress, "first", charging(cardToB(30)))
	broken := callerWith(merchantID, "first")
	_, err := s.replayOrRefuse(t.Context(), newCharge(broken, cardToB(30)), errors.New("a rule"))
	if got := result(Reply{}, err, broken); got != inProgress {
		t.Errorf("a retry that breaks a younger rule came to %s, want %s", got, inProgress)
	}
	f.want(settled, "", settling("first", StatusSucceeded))
	f.want("refused: idempotency_key_expired", "first", charging(cardToB(30)))
	f.want(ErrSettled.Error(), "", settling("first", StatusSucceeded))
}

// The answer is stored for the request that took the key, and not for the settlement.
func TestSettledAnswerIsReplayedByteForByte(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	declined := f.decline("declined", "card_declined")
	short := f.decline("short", DeclineInsufficientFunds)
	f.want(settled, "", settling("first", StatusSucceeded))
	for key, want := range map[string]struct {
		payment uuid.UUID
		status  string
		parts   []string
	}{
		"first": {f.payment, "201", []string{
			`"status":"succeeded"`, `"amount_captured":30`, `"payment_method":"pm_card_visa"`,
			`"version":2`, `"id":"` + FormatID(f.payment) + `"`,
		}},
		"declined": {declined, "402", []string{
			`"code":"card_declined"`, `"payment_id":"` + FormatID(declined) + `"`,
		}},
		"short": {short, "402", []string{
			`"code":"insufficient_funds"`, `"payment_id":"` + FormatID(short) + `"`,
		}},
	} {
		one := f.want(want.status+" replayed", key, charging(cardToB(30)))
		two, err := f.other.Charge(t.Context(), callerWith(f.merchant, key), cardToB(30))
		if err != nil || string(one.Body) != string(two.Body) || one.Location != two.Location ||
			one.PaymentID != want.payment {
			t.Errorf("%s: two instances replay %s and %s, %v", key, one.Body, two.Body, err)
		}
		for _, part := range want.parts {
			if !strings.Contains(string(one.Body), part) {
				t.Errorf("%s: the answer does not say %s: %s", key, part, one.Body)
			}
		}
	}
	payment, err := f.s.Get(t.Context(), f.merchant, short)
	if err != nil || payment.DeclineCode != DeclineInsufficientFunds {
		t.Errorf("the declined payment says %q, %v", payment.DeclineCode, err)
	}
}

// decline makes another payment of the merchant, which its card's issuer has declined.
func (f *cardFixture) decline(key, code string) uuid.UUID {
	f.t.Helper()
	payment := send(f.t, f.s, f.merchant, key, charging(cardToB(30)))
	settlement := request{payment: payment, settles: key, word: StatusDeclined, by: "lease 1"}.
		settlement(f.merchant)
	settlement.DeclineCode = code
	if err := f.s.Settle(f.t.Context(), settlement); err != nil {
		f.t.Fatal(err)
	}
	return payment
}

// Events and leases bring the result at the same moment, on two instances.
func TestRacingSettlementsHaveOneEffect(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	results := map[string]bool{}
	var mu sync.Mutex // guards results
	var callers sync.WaitGroup
	start := make(chan struct{})
	for i := range 40 {
		callers.Go(func() {
			settlement := f.on(settling("first", StatusSucceeded))
			settlement.by = []string{"lease 1", "event 1", "event 2", "event 3"}[i/2%4]
			s := []*Service{f.s, f.other}[i%2]
			<-start
			reply, err := settlement.send(context.Background(), s, Caller{
				Key: idempotency.Key{MerchantID: f.merchant},
			})
			mu.Lock()
			defer mu.Unlock()
			results[result(reply, err, Caller{})] = true
		})
	}
	close(start)
	callers.Wait()
	got := slices.Sorted(maps.Keys(results))
	if want := []string{settled, ErrSettled.Error()}; !slices.Equal(got, want) {
		t.Errorf("the settlements came to %q, want %q", got, want)
	}
	f.wantState(stateCharged)
}

// A stalled instance brings the result of an earlier call. An event needs no lease.
func TestSettlementOfALostLeaseIsFenced(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	f.exec(`UPDATE processor_attempts SET token = 2`)
	f.want(ErrFenced.Error(), "", settling("first", StatusDeclined))
	f.wantState(stateProcessing)
	stale := f.on(settling("first", StatusDeclined))
	latest := f.on(settling("first", StatusSucceeded))
	latest.by = "lease 2"
	batch := []*operation{
		newSettle(stale.settlement(f.merchant)), newSettle(latest.settlement(f.merchant)),
	}
	if batch[0].claim.Key == batch[1].claim.Key {
		t.Error("two leases share a key, so one settlement could answer for the other")
	}
	want := []string{"refused: invalid_state", settled}
	if got := transactAll(t, f.s, batch); got[0] != want[0] || got[1] == want[0] {
		t.Errorf("in one batch they came to %q, want %q", got, want)
	}
	f.wantState(stateCharged)

	second := newCardFixture(t, charging(cardToB(30)))
	second.exec(`UPDATE processor_attempts SET token = 2`)
	event := settling("first", StatusSucceeded)
	event.by = "event"
	second.exec(`
		INSERT INTO processor_events (merchant_id, id, attempt_id, body)
		VALUES ($1, 'event of first', $2, '{}')`, second.merchant,
		attemptID(callerWith(second.merchant, "first").Key))
	second.want(settled, "", event)
	second.wantState(stateCharged)
	var kept bool
	if err := second.Pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM processor_events)`).
		Scan(&kept); err != nil || kept {
		t.Errorf("the event that was applied is kept for later: %t, %v", kept, err)
	}
}

func TestResultThatTheBooksCannotTakeChangesNothing(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	for _, word := range []Status{StatusAuthorized, StatusCanceled, StatusProcessing} {
		f.want(ErrNotSettled.Error(), "", settling("first", word))
	}
	f.want(ErrNotSettled.Error(), "", settling("never", StatusSucceeded))
	another := settling("first", StatusSucceeded)
	another.payment = newID()
	if _, err := another.send(t.Context(), f.s, callerWith(f.merchant, "")); !errors.Is(err,
		ErrNotSettled) {
		t.Errorf("the word about another payment came to %v, want %v", err, ErrNotSettled)
	}
	f.wantState(stateProcessing)
	f.want(settled, "", settling("first", StatusSucceeded))
	f.wantState(stateCharged)
}

// The account has filled up while the processor was asked.
func TestBalanceThatIsFullStopsASettlement(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	fill := Charge{
		Amount: usd(ledger.AmountMax - 29), SourceAccount: "world", DestinationAccount: "b",
	}
	charge(t, f.s, f.merchant, "fill", fill)
	before := f.state()
	f.want(ErrNotSettled.Error(), "", settling("first", StatusSucceeded))
	f.wantState(before)
	f.want(inProgress, "first", charging(cardToB(30)))
	// Nothing is asked for that could not be settled.
	f.want("refused: unprocessable", "too much", charging(cardToB(30)))

	charge(t, f.s, f.merchant, "room",
		Charge{Amount: usd(1), SourceAccount: "b", DestinationAccount: "world"})
	f.want(settled, "", settling("first", StatusSucceeded))
	f.want("201 replayed", "first", charging(cardToB(30)))
}

func TestCaptureThatCannotBeSettledIsNotAskedFor(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(held(cardToB(30))))
	f.want(settled, "", settling("first", StatusAuthorized))
	charge(t, f.s, f.merchant, "fill", Charge{
		Amount: usd(ledger.AmountMax - 20), SourceAccount: "world", DestinationAccount: "b",
	})
	f.want("refused: unprocessable", "all", request{operation: operationCapture})
	f.want(begun, "part", request{operation: operationCapture, amount: new(int64(20))})
	f.want(settled, "", settling("part", StatusSucceeded))
}

func TestOneBatchHasChargesAndBeginsAndSettlements(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	charge(t, f.s, f.merchant, "fund",
		Charge{Amount: usd(10), SourceAccount: "world", DestinationAccount: "a"})
	spend := Charge{Amount: usd(25), SourceAccount: "b", DestinationAccount: "a"}
	steps := []step{
		{request: charging(aToB(10)), want: "201"},
		{request: charging(spend), want: "402"},
		{request: charging(cardToB(5)), want: begun},
		{request: settling("first", StatusSucceeded), want: "200"}, // its own answer
		{request: charging(spend), want: "201"},
		{request: request{operation: operationRefund, amount: new(int64(15))}, want: begun},
		{request: charging(spend), want: "402"},
		{request: charging(cardToB(6)), key: "first", want: "refused: idempotency_key_reused"},
	}
	batch := operations(f.merchant, []uuid.UUID{f.payment}, steps)
	for i, got := range transactAll(t, f.s, batch) {
		if got != steps[i].want {
			t.Errorf("step %d came to %s; want %s", i, got, steps[i].want)
		}
	}
	f.wantState("succeeded, 30 captured, 0 refunded, version 3; charge settled, refund open; " +
		"b has 15 with 15 held, clearing has -30 with 0 held")
}
