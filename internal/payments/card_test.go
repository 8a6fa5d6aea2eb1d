package payments

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

const clearing = "processor:stripe:USD"

func openClearing(t testing.TB, s *Service, merchantID int64) {
	t.Helper()
	err := ledger.OpenClearing(context.Background(), s.pool, merchantID, processorName, "USD")
	if err != nil {
		t.Fatal(err)
	}
}

// send sends a request that is neither refused nor declined, and returns its payment.
func send(t testing.TB, s *Service, merchantID int64, key string, r request) uuid.UUID {
	t.Helper()
	caller := callerWith(merchantID, key)
	reply, err := r.send(context.Background(), s, caller)
	switch got := result(reply, err, caller); got {
	case begun, settled, "200", "201":
	default:
		t.Fatalf("%s under %q came to %s", r, key, got)
	}
	return reply.PaymentID
}

// attemptsOf are the attempts of a payment, with their states.
func attemptsOf(t testing.TB, s *Service, merchantID int64, payment uuid.UUID) (text string) {
	t.Helper()
	if err := s.pool.QueryRow(context.Background(), `
		SELECT coalesce('; ' || string_agg(operation || ' ' || state, ', '
			ORDER BY created_at, operation), '')
		FROM processor_attempts
		WHERE merchant_id = $1 AND payment_id = $2`, merchantID, payment).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// life is the steps of one card payment, in transactions of their own, and its end.
type life struct {
	name   string
	first  request // makes the payment, under the key "first"
	steps  []step  // the keys that they do not name are "step 0", "step 1", …
	state  string
	events string
	funds  string // of b, who had nothing
}

func TestCardPaymentBecomesWhatTheProcessorSays(t *testing.T) {
	t.Parallel()
	const (
		first     = "first"
		wrong     = "refused: invalid_state"
		tooLarge  = "refused: amount_too_large"
		reused    = "refused: idempotency_key_reused"
		duplicate = "refused: duplicate_reference"
	)
	order := cardToB(30)
	order.Reference = "order"
	ask := func(operation string, amount int64, want string) step {
		if amount == 0 {
			return step{request: request{operation: operation}, want: want}
		}
		return step{request: request{operation: operation, amount: &amount}, want: want}
	}
	retry := func(r request, key, want string) step {
		return step{request: r, key: key, want: want}
	}
	settle := func(key string, word Status) step {
		return step{request: settling(key, word), want: settled}
	}
	authorized := []step{settle(first, StatusAuthorized)}
	for _, l := range []life{
		{
			name: "a charge succeeds", first: charging(order),
			steps: []step{
				retry(charging(order), first, inProgress),
				retry(charging(cardToB(31)), first, reused),
				retry(charging(held(order)), first, reused),
				retry(charging(order), "other", duplicate),
				ask(operationRefund, 0, wrong), ask(operationCancel, 0, wrong),
				ask(operationCapture, 0, wrong),
				settle(first, StatusSucceeded), settle(first, StatusSucceeded),
				retry(charging(order), first, "201 replayed"),
				retry(charging(cardToB(31)), first, reused),
				retry(charging(order), "other", duplicate),
			},
			state:  "succeeded, 30 captured, 0 refunded, version 2; charge settled",
			events: "payment.processing 0, payment.succeeded 30", funds: "30 with 0 held",
		},
		{
			name: "a charge is declined, and its reference is free", first: charging(order),
			steps: []step{
				settle(first, StatusDeclined), retry(charging(order), first, "402 replayed"),
				ask(operationRefund, 0, wrong), ask(operationCapture, 0, wrong),
				retry(charging(order), "other", begun), retry(charging(order), "third", duplicate),
			},
			state:  "declined, 0 captured, 0 refunded, version 2; charge settled",
			events: "payment.processing 0, payment.declined 0", funds: "0 with 0 held",
		},
		{
			name: "an authorization is declined", first: charging(held(order)),
			steps: []step{
				settle(first, StatusDeclined), retry(charging(held(order)), first, "402 replayed"),
			},
			state:  "declined, 0 captured, 0 refunded, version 2; authorize settled",
			events: "payment.processing 0, payment.declined 0", funds: "0 with 0 held",
		},
		{
			name: "an authorization is captured in part", first: charging(held(order)),
			steps: append(authorized[:1:1],
				retry(charging(held(order)), first, "201 replayed"),
				ask(operationCapture, 31, tooLarge),
				ask(operationCapture, 20, begun), // step 3
				retry(request{operation: operationCapture, amount: new(int64(20))}, "step 3",
					inProgress),
				ask(operationCapture, 20, wrong), ask(operationCancel, 0, wrong),
				ask(operationRefund, 0, wrong),
				settle("step 3", StatusSucceeded),
				retry(request{operation: operationCapture, amount: new(int64(20))}, "step 3",
					"200 replayed"),
				ask(operationCapture, 0, wrong),
			),
			state: "succeeded, 20 captured, 0 refunded, version 4; " +
				"authorize settled, capture settled",
			events: "payment.processing 0, payment.authorized 0, payment.succeeded 20",
			funds:  "20 with 0 held",
		},
		{
			name: "the processor has ended an authorization", first: charging(held(order)),
			steps: append(authorized[:1:1],
				ask(operationCapture, 0, begun), settle("step 1", StatusCanceled),
				retry(request{operation: operationCapture}, "step 1", "402 replayed"),
				retry(charging(order), "other", begun), // the reference is free
			),
			state: "canceled, 0 captured, 0 refunded, version 4; " +
				"authorize settled, capture settled",
			events: "payment.processing 0, payment.authorized 0, payment.canceled 0",
			funds:  "0 with 0 held",
		},
		{
			name: "an authorization is canceled", first: charging(held(order)),
			steps: append(authorized[:1:1],
				ask(operationCancel, 0, begun), ask(operationCapture, 0, wrong),
				ask(operationCancel, 0, wrong), retry(charging(order), "other", duplicate),
				settle("step 1", StatusCanceled),
				retry(request{operation: operationCancel}, "step 1", "200 replayed"),
				ask(operationCapture, 0, wrong), retry(charging(order), "other", begun),
			),
			state:  "canceled, 0 captured, 0 refunded, version 4; authorize settled, cancel settled",
			events: "payment.processing 0, payment.authorized 0, payment.canceled 0",
			funds:  "0 with 0 held",
		},
		{
			// What is at the processor counts for the cap, and cannot be spent.
			name: "refunds", first: charging(order),
			steps: []step{
				settle(first, StatusSucceeded),
				ask(operationRefund, 20, begun), ask(operationRefund, 11, tooLarge), // step 1
				retry(request{operation: operationRefund, amount: new(int64(20))}, "step 1",
					inProgress),
				retry(charging(Charge{
					Amount: usd(11), SourceAccount: "b", DestinationAccount: "a",
				}), "spend", "402"),
				ask(operationRefund, 0, begun), ask(operationRefund, 0, tooLarge), // step 5
				settle("step 1", StatusDeclined), settle("step 5", StatusSucceeded),
				retry(request{operation: operationRefund, amount: new(int64(20))}, "step 1",
					"402 replayed"),
				retry(request{operation: operationRefund}, "step 5", "201 replayed"),
				ask(operationRefund, 21, tooLarge),
				retry(charging(Charge{
					Amount: usd(15), SourceAccount: "b", DestinationAccount: "a",
				}), "spend again", "201"),
				ask(operationRefund, 6, "402"), ask(operationRefund, 5, begun),
			},
			state: "succeeded, 30 captured, 10 refunded, version 7; " +
				"charge settled, refund settled, refund settled, refund open",
			events: "payment.processing 0, payment.succeeded 30, refund.processing 20, " +
				"refund.processing 10, refund.declined 20, refund.succeeded 10, " +
				"refund.declined 6, refund.processing 5",
			funds: "5 with 5 held",
		},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			l.run(t)
		})
	}
}

// run sends the steps to two instances in turn.
func (l *life) run(t *testing.T) {
	db := pgtest.New(t)
	instances := []*Service{newService(t, db.URL), newService(t, db.URL)}
	s := instances[0]
	merchantID := newMerchant(t, s, map[string]int64{"a": 0, "b": 0})
	payment := send(t, s, merchantID, "first", l.first)
	for i, step := range l.steps {
		step.request.payment = payment
		caller := callerWith(merchantID, step.keyAt(i))
		reply, err := step.send(t.Context(), instances[(i+1)%2], caller)
		if got := result(reply, err, caller); got != step.want {
			t.Fatalf("step %d, %s, came to %s; want %s", i, step.request, got, step.want)
		}
	}
	got := stateOf(t, s, merchantID, payment) + attemptsOf(t, s, merchantID, payment)
	if got != l.state {
		t.Errorf("the payment is %s; want %s", got, l.state)
	}
	if got := eventsOf(t, s, merchantID, payment); got != l.events {
		t.Errorf("the events are %s; want %s", got, l.events)
	}
	if got := fundsOf(t, s, merchantID, "b"); got != l.funds {
		t.Errorf("b has %s, want %s", got, l.funds)
	}
}

// cardFixture is a merchant with a card payment of 30 to b that is at the processor, under
// the key "first".
type cardFixture struct {
	*pgtest.DB
	s, other *Service
	merchant int64
	payment  uuid.UUID
	t        *testing.T
}

func newCardFixture(t *testing.T, first request) *cardFixture {
	t.Helper()
	db := pgtest.New(t)
	f := &cardFixture{DB: db, s: newService(t, db.URL), other: newService(t, db.URL), t: t}
	f.merchant = newMerchant(t, f.s, map[string]int64{"a": 0, "b": 0})
	f.payment = send(t, f.s, f.merchant, "first", first)
	return f
}

// on is the request about the payment of the fixture.
func (f *cardFixture) on(r request) request {
	r.payment = f.payment
	return r
}

func (f *cardFixture) want(want, key string, r request) Reply {
	f.t.Helper()
	caller := callerWith(f.merchant, key)
	reply, err := f.on(r).send(f.t.Context(), f.s, caller)
	if got := result(reply, err, caller); got != want {
		f.t.Errorf("%s came to %s, want %s", r, got, want)
	}
	return reply
}

func (f *cardFixture) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.Pool.Exec(f.t.Context(), sql, args...); err != nil {
		f.t.Fatal(err)
	}
}

// state is the payment, its attempts, and the funds of b and of the clearing account.
func (f *cardFixture) state() string {
	f.t.Helper()
	return fmt.Sprintf("%s%s; b has %s, clearing has %s",
		stateOf(f.t, f.s, f.merchant, f.payment), attemptsOf(f.t, f.s, f.merchant, f.payment),
		fundsOf(f.t, f.s, f.merchant, "b"), fundsOf(f.t, f.s, f.merchant, clearing))
}

func (f *cardFixture) wantState(want string) {
	f.t.Helper()
	if got := f.state(); got != want {
		f.t.Errorf("the payment is %s; want %s", got, want)
	}
}

const (
	stateProcessing = "processing, 0 captured, 0 refunded, version 1; charge open; " +
		"b has 0 with 0 held, clearing has 0 with 0 held"
	stateCharged = "succeeded, 30 captured, 0 refunded, version 2; charge settled; " +
		"b has 30 with 0 held, clearing has -30 with 0 held"
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
	declined := f.merchantWith("declined", "card_declined")
	short := f.merchantWith("short", DeclineInsufficientFunds)
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

// merchantWith is another payment of the merchant, that its card's issuer has declined.
func (f *cardFixture) merchantWith(key, code string) uuid.UUID {
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

// Events and leases have the processor's word at the same moment, on two instances.
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

// An instance that was stalled has the word of an earlier call. An event needs no lease.
func TestSettlementOfALostLeaseIsFenced(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	f.exec(`UPDATE processor_attempts SET token = 2`)
	f.want(ErrFenced.Error(), "", settling("first", StatusDeclined))
	f.wantState(stateProcessing)
	stale, latest := f.on(settling("first", StatusDeclined)), f.on(settling("first", StatusSucceeded))
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

func TestWordThatTheBooksCannotFollowChangesNothing(t *testing.T) {
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

func TestRacingRequestsAskTheProcessorWithinTheAmount(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		first      request
		word       Status
		operations []string // in turn
		want       map[string]int
	}{
		{
			"refunds of a third", charging(cardToB(300)), StatusSucceeded,
			[]string{operationRefund},
			map[string]int{begun: 3, "refused: amount_too_large": 97},
		},
		{
			"captures and cancels", charging(held(cardToB(300))), StatusAuthorized,
			[]string{operationCapture, operationCancel},
			map[string]int{begun: 1, "refused: invalid_state": 99},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newCardFixture(t, test.first)
			f.want(settled, "", settling("first", test.word))
			race(t, f.DB, f.merchant, test.want, func(i int) request {
				r := request{operation: test.operations[i/2%len(test.operations)]}
				if r.operation != operationCancel {
					r.amount = new(int64(100))
				}
				return f.on(r)
			})
		})
	}
}

// A refund's money could be spent by a charge at the same moment.
func TestMoneyOfARefundCannotBeSpentMeanwhile(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(10_000))) // all refunds are within it
	f.want(settled, "", settling("first", StatusSucceeded))
	charge(t, f.s, f.merchant, "spend",
		Charge{Amount: usd(9700), SourceAccount: "b", DestinationAccount: "a"})
	race(t, f.DB, f.merchant, map[string]int{"done": 3, "402": 97}, func(i int) request {
		if i/2%2 == 0 {
			return request{
				operation: operationRefund, payment: f.payment, amount: new(int64(100)),
			}
		}
		return charging(Charge{Amount: usd(100), SourceAccount: "b", DestinationAccount: "a"})
	})
}

// Two first charges come at the same moment.
func TestFirstCardChargesOpenOneClearingAccount(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 0, "b": 0})
	ctx := t.Context()
	lost := cardToB(1)
	lost.DestinationAccount = "nobody"
	caller := callerWith(merchantID, "lost")
	_, err := s.Charge(ctx, caller, lost)
	if got := result(Reply{}, err, caller); got != "refused: account_not_found" {
		t.Errorf("a charge for no account came to %s", got)
	}
	ref := ledger.Ref{MerchantID: merchantID, AccountID: clearing}
	if _, err := accountsOf(s).Get(ctx, ref); !errors.Is(err, ledger.ErrAccountNotFound) {
		t.Errorf("a refused charge opened the clearing account: %v", err)
	}
	race(t, db, merchantID, map[string]int{begun: 100}, func(int) request {
		return charging(cardToB(1))
	})
	if got := account(t, s, merchantID, clearing); got.OverdraftLimit != nil || got.Posted != 0 {
		t.Errorf("the clearing account is %+v, want one without a floor", got)
	}
	for _, c := range []Charge{
		{Amount: usd(1), SourceAccount: clearing, DestinationAccount: "a"},
		{Amount: usd(1), SourceAccount: "a", DestinationAccount: clearing},
		{Amount: usd(1), PaymentMethod: "pm_card_visa", DestinationAccount: clearing},
	} {
		caller := callerWith(merchantID, "own")
		reply, err := s.Charge(ctx, caller, c)
		if got := result(reply, err, caller); got != "refused: unprocessable" {
			t.Errorf("%+v came to %s", c, got)
		}
	}
}

func TestAccountIsNotClosedWhileTheProcessorIsAsked(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	ref := ledger.Ref{MerchantID: f.merchant, AccountID: "b"}
	wantOpen := func(why string) {
		t.Helper()
		err := accountsOf(f.s).Close(t.Context(), ref, ledger.Unconditional)
		if !errors.Is(err, ledger.ErrAccountNotEmpty) {
			t.Errorf("closing the account of %s: %v, want %v", why, err, ledger.ErrAccountNotEmpty)
		}
	}
	wantOpen("a charge")
	f.want(settled, "", settling("first", StatusSucceeded))
	putAccount(t, f.s, f.merchant, "b", new(int64(100)))
	charge(t, f.s, f.merchant, "spend",
		Charge{Amount: usd(30), SourceAccount: "b", DestinationAccount: "a"})
	f.want(begun, "refund", request{operation: operationRefund, amount: new(int64(10))})
	wantOpen("a refund")
	f.want(settled, "", settling("refund", StatusDeclined))
	if err := accountsOf(f.s).Close(t.Context(), ref, ledger.Unconditional); err != nil {
		t.Fatal(err)
	}
	// Its overdraft could pay.
	f.want("refused: invalid_state", "late", request{operation: operationRefund})
}

func TestExpiredCardAuthorizationIsAskedForOnce(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(held(cardToB(30))))
	f.s.authorizedFor = 0
	f.want(settled, "", settling("first", StatusAuthorized))
	var sweepers sync.WaitGroup
	for _, s := range []*Service{f.s, f.other, f.s, f.other} {
		sweepers.Go(func() { expire(t, s) })
	}
	sweepers.Wait()
	expire(t, f.s)
	const nothing = "; b has 0 with 0 held, clearing has 0 with 0 held"
	f.wantState("authorized, 0 captured, 0 refunded, version 3; authorize settled, expire open" +
		nothing)
	f.want("refused: invalid_state", "late", request{operation: operationCancel})
	key := idempotency.Key{
		MerchantID: f.merchant, Scope: idempotency.ScopeService,
		Value: "expire:" + FormatID(f.payment),
	}
	if err := f.s.Settle(t.Context(), Settlement{
		MerchantID: f.merchant, AttemptID: attemptID(key), PaymentID: f.payment, Token: 1,
		Status: StatusCanceled,
	}); err != nil {
		t.Fatal(err)
	}
	f.wantState("canceled, 0 captured, 0 refunded, version 4; authorize settled, expire settled" +
		nothing)
	payment, err := f.s.Get(t.Context(), f.merchant, f.payment)
	if err != nil || payment.CancellationReason != CancellationExpired {
		t.Errorf("it was canceled because of %q, %v", payment.CancellationReason, err)
	}
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

func TestServiceWithoutAProcessorChargesNoCard(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(cardToB(30)))
	f.s.checkCard = nil
	f.want("refused: unprocessable", "new", charging(cardToB(30)))
	f.want(inProgress, "first", charging(cardToB(30)))
	f.want(settled, "", settling("first", StatusDeclined))
	f.want("402 replayed", "first", charging(cardToB(30)))

	tooSmall := errors.New("must be at least 50")
	f.s.checkCard = func(ledger.Money) error { return tooSmall }
	f.want("refused: unprocessable", "new", charging(cardToB(30)))
}

// The instance that began an attempt has it for a while. Nobody waits for an expiry.
func TestAttemptIsLeftToTheInstanceThatBeganIt(t *testing.T) {
	t.Parallel()
	f := newCardFixture(t, charging(held(cardToB(30))))
	f.s.authorizedFor = 0
	f.want(settled, "", settling("first", StatusAuthorized))
	expire(t, f.s)
	rows, err := f.Pool.Query(t.Context(), `
		SELECT operation || ' after ' || round(extract(epoch FROM due_at - created_at))
		FROM processor_attempts ORDER BY operation`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := []string{"authorize after 60", "expire after 0"}; !slices.Equal(got, want) {
		t.Errorf("the attempts are due %q, %v; want %q", got, err, want)
	}
}
