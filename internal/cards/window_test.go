package cards

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// forgetful is a processor that knows no key any more when it is asked again.
func forgetful(o *simulator.Options) { o.KeyWindow = time.Nanosecond }

// A charge does not need the processor's keys: an intent succeeds once.
func TestForgottenKeyChargesOnce(t *testing.T) {
	for _, point := range []string{
		"create asked", "create answered", "confirm asked", "confirm answered",
	} {
		t.Run(point, func(t *testing.T) {
			tn := newTown(t, forgetful)
			stallAndTakeOver(tn, point, "k", charging(byCard("pm_card_visa")))
		})
	}
}

// A refund that never reached the processor is asked for again only while the processor
// knows its key. A refund that was made is found at any time.
func TestForgottenKeyRefundsOnceOrWaitsForAPerson(t *testing.T) {
	for name, row := range map[string]struct {
		fault simulator.StepFaults
		want  State
	}{
		"lost": {simulator.StepFaults{Before: simulator.Before{Reset: 1}}, StateReview},
		"made": {simulator.StepFaults{After: simulator.After{Reset: 1}}, StateSettled},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t, forgetful)
			g := newGate(t, tn.processor)
			in := tn.instance(func(c *config) { c.URL, c.ResendWindow = g.URL, time.Nanosecond })
			id := in.want(201, "k", charging(byCard("pm_card_visa"))).PaymentID
			tn.setFaults(map[simulator.Step]simulator.StepFaults{simulator.StepRefund: row.fault})
			_, err := in.send("back", refunding(id, 300), 0)
			if !inProgress(err) {
				t.Fatal(err)
			}
			in.recovering()
			a := tn.awaitState(in, "back", row.want)
			if asked := strings.Count(strings.Join(g.steps(), " "), "refund"); asked != 1 {
				t.Errorf("the refund was asked for %d times", asked)
			}
			if row.want == StateReview && a.Problem == "" {
				t.Error("the person is not told why")
			}
		})
	}
}

// Payments that were made after a backup are at the processor, and not in the restored
// database. A retry of each key finds its payment there, and charges nothing again.
func TestRestoredBackupDoublesNothing(t *testing.T) {
	methods := map[string]int{
		"pm_card_visa": 201, "pm_card_chargeDeclined": 402, "pm_card_authenticationRequired": 402,
		"pm_sim_500_after_charge": 201, "pm_sim_500_before_charge": 201,
	}
	tn := newTown(t)
	for _, at := range []*town{tn, tn.restored()} {
		in := at.instance().recovering()
		for method, status := range methods {
			in.want(status, method, charging(byCard(method)))
		}
		paid := in.want(201, "paid", charging(byCard("pm_card_visa"))).PaymentID
		in.want(201, "back", refunding(paid, 300))
		held := in.want(201, "held", authorizing("pm_card_visa")).PaymentID
		in.want(200, "captured", capturing(held, 400))
		held = in.want(201, "held again", authorizing("pm_card_visa")).PaymentID
		in.want(200, "canceled", canceling(held))
	}
	if intents := len(tn.theirs()); intents != len(methods)+3 {
		t.Errorf("the processor has intents of %d attempts", intents)
	}
}

// The refund is found in the intent's list even if the processor has forgotten its key.
func TestRestoredBackupRefundsOnceWithoutTheKey(t *testing.T) {
	tn := newTown(t, forgetful)
	in := tn.instance()
	paid := in.want(201, "paid", charging(byCard("pm_card_visa"))).PaymentID
	in.want(201, "back", refunding(paid, 300))
	// The backup has the payment, and not the refund.
	backup := tn.restored()
	intent := tn.intentOf(in, "paid").ID
	other := backup.instance()
	again := other.begin("paid", charging(byCard("pm_card_visa")))
	backup.execute(`UPDATE processor_attempts SET intent_id = $1`, intent)
	backup.makeDue()
	other.recovering()
	backup.awaitState(other, "paid", StateSettled)
	other.want(201, "back", refunding(again.PaymentID, 300))
	if refunds := len(tn.intentOf(in, "paid").Refunds); refunds != 1 {
		t.Errorf("the payment has %d refunds", refunds)
	}
}

// restored is a town with the same processor, whose database was backed up before the
// first payment: it has the same installation and the same merchants.
func (tn *town) restored() *town {
	tn.t.Helper()
	other := &town{t: tn.t, db: pgtest.New(tn.t), processor: tn.processor}
	var id uuid.UUID
	if err := tn.db.Pool.QueryRow(tn.t.Context(),
		`SELECT id FROM processor_installation`).Scan(&id); err != nil {
		tn.t.Fatal(err)
	}
	other.execute(`UPDATE processor_installation SET id = $1`, id)
	other.settleIn()
	return other
}

// A backup has caught the attempt before its intent was known, and is restored when the
// processor has forgotten the key. Nobody sends the key again: recovery goes on by itself.
func TestRestoredAttemptChargesOnceWithoutTheKey(t *testing.T) {
	tn := newTown(t, forgetful)
	in := tn.instance()
	in.want(201, "k", charging(byCard("pm_card_visa")))
	backup := tn.restored()
	other := backup.instance(func(c *config) { c.ResendWindow = time.Nanosecond })
	_ = other.begin("k", charging(byCard("pm_card_visa")))
	backup.makeDue()
	other.recovering()
	backup.awaitState(other, "k", StateSettled)
	other.want(201, "k", charging(byCard("pm_card_visa")))
	if paid := tn.intentOf(in, "k"); paid.TimesTaken != 1 {
		t.Errorf("the processor has %+v", paid)
	}
}

// A person declines an attempt whose intent our books do not know. A backup was restored,
// and the card was charged before.
func TestDeclineOfARestoredAttemptSettlesWhatWasCharged(t *testing.T) {
	for name, edit := range map[string]string{
		"the same": ``,
		// as an older release would have asked
		"other parameters": `UPDATE payments SET payment_method = 'pm_card_mastercard'`,
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t)
			in := tn.instance()
			charge := charging(byCard("pm_card_visa"))
			in.want(201, "k", charge)
			backup := tn.restored()
			other := backup.instance()
			pending := other.begin("k", charge)
			if edit != "" {
				backup.execute(edit)
			}
			backup.makeDue()
			a, err := other.Resolve(t.Context(), merchantID, pending.AttemptID, DecideDeclined)
			if err != nil || a.State != StateSettled {
				t.Errorf("it is %+v, %v", a, err)
			}
			other.want(201, "k", charge)
		})
	}
}

// A backup lacks an authorization and its capture. The retry of the first is interrupted,
// so the processor is asked for the intent, which is captured by then.
func TestRestoredAuthorizationIsFollowedByItsCapture(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	hold := authorizing("pm_card_visa")
	in.want(200, "capture", capturing(in.want(201, "hold", hold).PaymentID, 400))
	backup := tn.restored()
	other := backup.instance()
	_ = other.begin("hold", hold)
	backup.makeDue()
	other.recovering()
	held := other.want(201, "hold", hold).PaymentID
	other.want(200, "capture", capturing(held, 400))
}
