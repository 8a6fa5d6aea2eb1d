package cards

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// fill takes all places of a merchant at an instance, as calls that hang do.
func (in *instance) fill(merchantID int64) (taken int) {
	for in.places.acquire(merchantID) {
		taken++
		in.t.Cleanup(func() { in.places.release(merchantID) })
	}
	return taken
}

// The calls of some merchants hang. The instance has room for others.
func TestMerchantsWhoseCallsHangLeavePlaces(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	for merchant, want := range []int{callsMax / 2, callsMax / 4, callsMax / 8} {
		id := int64(merchant + 1)
		if taken := in.fill(id); taken != want || !in.Full(id) || in.Full(id+1) {
			t.Errorf("merchant %d took %d places, want %d; full: %t, the next one: %t", id,
				taken, want, in.Full(id), in.Full(id+1))
		}
	}
}

// If its own instance has no place for an attempt, another instance leases it soon.
func TestAttemptWithoutPlaceIsGivenBack(t *testing.T) {
	tn := newTown(t)
	full, other := tn.instance(), tn.instance()
	full.fill(merchantID)
	if _, err := full.send("k", charging(byCard("pm_card_visa")), 0); !inProgress(err) {
		t.Fatal(err)
	}
	a := tn.attempt(full, "k")
	if left := time.Until(a.leaseEnd); a.Tries != 1 || left > retryDelayMax {
		t.Errorf("it has %d tries, and is due in %v", a.Tries, left)
	}
	other.recovering()
	other.want(201, "k", charging(byCard("pm_card_visa")))
}

// The due attempts of a merchant without places stay due, and delay no other merchant.
func TestRecoveryPassesOverFullMerchants(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	charge := charging(byCard("pm_card_visa"))
	for i := range leaseBatchSize + 1 {
		_ = in.begin(fmt.Sprint("k", i), charge)
	}
	second := callerWith("second")
	second.Key.MerchantID = 2
	if _, err := charge(in, second); err == nil {
		t.Fatal("it did not begin")
	}
	tn.makeDue()
	in.fill(merchantID)
	if err := in.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := tn.attempt(in, "k0"); a.Token != firstToken {
		t.Errorf("it was leased: %+v", a)
	}
	if reply, err := in.sendAs(second, charge, patience); err != nil || reply.Status != 201 {
		t.Errorf("merchant 2: %d %v", reply.Status, err)
	}
	tn.instance().recovering()
	for i := range leaseBatchSize + 1 {
		in.want(201, fmt.Sprint("k", i), charge)
	}
}

// A processor that is away does not get a call for every open attempt again and again.
// When it is back, all attempts are settled.
func TestRecoveryOnlyProbesAProcessorThatIsAway(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	const open = 100
	charge := charging(byCard("pm_card_visa"))
	for i := range open {
		_ = in.begin(fmt.Sprint("k", i), charge)
	}
	tn.setFaults(map[simulator.Step]simulator.StepFaults{
		simulator.StepCreate: {Before: simulator.Before{Reset: 1}},
	})
	recoverOnce := func() (tries int) {
		tn.makeDue()
		if err := in.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		await.Until(t, patience, "all tries have ended", func() bool {
			return in.Stats().Calls == 0
		})
		for i := range open {
			tries += tn.attempt(in, fmt.Sprint("k", i)).Tries
		}
		return tries
	}
	first := recoverOnce() // the instance learns that the processor is away
	if more := recoverOnce() - first; more != probeBatchSize {
		t.Errorf("%d tries while the processor is away, want %d", more, probeBatchSize)
	}
	tn.setFaults(nil)
	in.recovering()
	for i := range open {
		in.want(201, fmt.Sprint("k", i), charge)
	}
}

// An instance shuts down during a call. It ends at once, and the attempt is due at once.
func TestCloseHandsAttemptsOver(t *testing.T) {
	for _, point := range []string{"create asked", "confirm asked", "confirm answered"} {
		t.Run(point, func(t *testing.T) {
			tn := newTown(t)
			g := newGate(t, tn.processor)
			closing, other := tn.instance(through(g)), tn.instance()
			reached, release := g.hold(point)
			defer release()
			charge := charging(byCard("pm_card_visa"))
			if _, err := closing.send("k", charge, 0); !inProgress(err) {
				t.Fatal(err)
			}
			<-reached
			began := time.Now()
			closing.Close()
			if took := time.Since(began); took > patience/2 {
				t.Errorf("closing took %v", took)
			}
			if left := time.Until(tn.attempt(other, "k").leaseEnd); left > 0 {
				t.Errorf("the attempt is due in %v", left)
			}
			if err := other.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			other.want(201, "k", charge)
			if _, err := closing.send("k", charge, 0); err != nil {
				t.Errorf("a replay after Close: %v", err)
			}
		})
	}
}

// between does something before the second query.
type between struct {
	postgres.Querier
	queries int
	do      func()
}

func (b *between) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if b.queries++; b.queries == 2 {
		b.do()
	}
	return b.Querier.Query(ctx, sql, args...)
}

func TestUnsettledLeavesOutWhatIsSettledMeanwhile(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	_ = in.begin("k", charging(byCard("pm_card_visa")))
	db := &between{Querier: in.pool, do: func() {
		tn.makeDue()
		if err := in.Recover(t.Context()); err != nil {
			t.Error(err)
		}
		tn.awaitState(in, "k", StateSettled)
	}}
	unsettled, err := Unsettled(t.Context(), db, Filter{Limit: 10})
	if err != nil || len(unsettled) != 0 || db.queries != 2 {
		t.Errorf("after %d queries, %+v are unsettled (%v)", db.queries, unsettled, err)
	}
}

// leases counts the statements that lease due attempts.
type leases struct{ atomic.Int64 }

func (l *leases) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	if strings.Contains(data.SQL, "SKIP LOCKED") {
		l.Add(1)
	}
	return ctx
}

func (*leases) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// In sharded mode, each merchant's attempts are leased by a statement.
func TestNoStatementIsSentWhenEnoughIsLeased(t *testing.T) {
	tn := newTown(t)
	var sent leases
	in := tn.instance(func(c *config) { c.tracer = &sent })
	for _, id := range []int64{1, 2} {
		caller := callerWith("k")
		caller.Key.MerchantID = id
		if _, err := charging(byCard("pm_card_visa"))(in, caller); err == nil {
			t.Fatal("it did not begin")
		}
	}
	tn.makeDue()
	leased, err := in.lease(t.Context(), 1, []int64{})
	if err != nil || len(leased) != 1 || sent.Load() != 1 {
		t.Errorf("%d statements have leased %d attempts, want 1 and 1 (%v)", sent.Load(),
			len(leased), err)
	}
	tn.makeDue()
	in.recovering()
	for _, id := range []int64{1, 2} {
		caller := callerWith("k")
		caller.Key.MerchantID = id
		reply, err := in.sendAs(caller, charging(byCard("pm_card_visa")), patience)
		if err != nil || reply.Status != 201 {
			t.Errorf("merchant %d: %d %v", id, reply.Status, err)
		}
	}
}

func TestEveryMerchantIsServed(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	charge := charging(byCard("pm_card_visa"))
	_ = in.begin("k", charge)
	second := callerWith("k")
	second.Key.MerchantID = 2
	if _, err := charge(in, second); err == nil {
		t.Fatal("it did not begin")
	}
	unsettled, err := Unsettled(t.Context(), in.pool, Filter{Limit: 10})
	if err != nil || len(unsettled) != 2 {
		t.Fatalf("%d attempts are unsettled, want 2 (%v)", len(unsettled), err)
	}
	for _, want := range unsettled {
		a, err := Find(t.Context(), in.pool, want.ID)
		if err != nil || a.MerchantID != want.MerchantID || a.PaymentMethod != "pm_card_visa" {
			t.Errorf("found %+v, %v", a, err)
		}
	}
	tn.makeDue()
	if err := in.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	for _, caller := range []payments.Caller{callerWith("k"), second} {
		if reply, err := in.sendAs(caller, charge, patience); err != nil || reply.Status != 201 {
			t.Errorf("merchant %d: %d %v", caller.Key.MerchantID, reply.Status, err)
		}
	}
	tn.execute(`
		INSERT INTO processor_events (merchant_id, id, attempt_id, body, received_at)
		SELECT m, 'evt', gen_random_uuid(), '{}', now() - interval '2 hours'
		FROM generate_series(1, 2) AS m`)
	if err := in.ApplyEarly(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := in.DeleteEarly(t.Context(), time.Hour, 10); err != nil || n != 2 {
		t.Errorf("%d kept events are deleted, want 2 (%v)", n, err)
	}
}

func TestUnsettledAttemptsOfOnePaymentAreListedAlone(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	charge := charging(byCard("pm_card_visa"))
	_, wanted := in.begin("k0", charge), in.begin("k1", charge)
	of := tn.attempt(in, "k1").PaymentID
	for _, f := range []Filter{
		{MerchantID: merchantID, PaymentID: of, Limit: 10}, {PaymentID: of, Limit: 10},
	} {
		got, err := Unsettled(t.Context(), in.pool, f)
		if err != nil || len(got) != 1 || got[0].ID != wanted.AttemptID {
			t.Errorf("%+v lists %d attempts, want the one of k1 (%v)", f, len(got), err)
		}
	}
	tn.instance().recovering()
	in.finish("k0", charge)
	in.finish("k1", charge)
}
