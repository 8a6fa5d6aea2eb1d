package cards

import (
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// While the processor is down, no payment is declined. It ends once the processor is back.
func TestProcessorDownLeavesPaymentsProcessing(t *testing.T) {
	tn := newTown(t)
	in := tn.instance().recovering()
	if err := tn.processor.SetFaults(simulator.Faults{Down: true}); err != nil {
		t.Fatal(err)
	}
	charge := charging(byCard("pm_card_visa"))
	if _, err := in.send("k", charge, 0); !inProgress(err) {
		t.Fatal(err)
	}
	await.Until(t, patience, "three tries", func() bool { return tn.attempt(in, "k").Tries >= 3 })
	payment, err := in.payments.Get(t.Context(), merchantID, tn.attempt(in, "k").PaymentID)
	if err != nil || payment.Status != payments.StatusProcessing {
		t.Errorf("the payment is %s, %v", payment.Status, err)
	}
	tn.setFaults(nil)
	in.want(201, "k", charge)
}

// The service's own settings are at fault. No card is declined for that, and the payment
// ends once they are right.
func TestWrongSettingsDeclineNoCard(t *testing.T) {
	for name, wrong := range map[string]func(*config){
		"secret key": func(c *config) { c.SecretKey = "sk_test_other" },
		"path":       func(c *config) { c.URL += "/v1/other" },
		"server":     func(c *config) { c.URL = "http://127.0.0.1:1" },
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t)
			in := tn.instance(wrong)
			charge := charging(byCard("pm_card_visa"))
			if _, err := in.send("k", charge, 0); !inProgress(err) {
				t.Fatal(err)
			}
			await.Until(t, patience, "a try", func() bool {
				return tn.attempt(in, "k").Tries > 0
			})
			if a := tn.attempt(in, "k"); a.State != StateOpen {
				t.Errorf("the attempt is %s: %s", a.State, a.Problem)
			}
			tn.instance().recovering().want(201, "k", charge)
		})
	}
}

// While the outcome is unknown, the reference refuses a second payment under another
// key. (killbill 1015, 643: the first payment succeeded later, too.)
func TestReferenceIsTakenWhileOutcomeIsUnknown(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	c := byCard("pm_sim_timeout_then_success")
	c.Reference = "order-1017"
	if _, err := in.send("first", charging(c), 0); !inProgress(err) {
		t.Fatal(err)
	}
	_, err := in.send("second", charging(c), patience)
	wantRefusal(t, err, payments.CodeDuplicateReference)
	in.recovering()
	in.want(201, "first", charging(c))
	_, err = in.send("third", charging(c), patience)
	wantRefusal(t, err, payments.CodeDuplicateReference)
}

// The settlement fails after the processor has charged. It is repeated, and the charge is
// not. (flexprice 2069, medusa 13301: the workflow charged again, or refunded a good order.)
func TestFailedSettlementIsRepeatedWithoutTheCharge(t *testing.T) {
	tn := newTown(t)
	g := newGate(t, tn.processor)
	in := tn.instance(func(c *config) { c.URL = g.URL }).recovering()
	tn.execute(`
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN RAISE 'the test forbids it'; END $$;
		CREATE TRIGGER fail BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION fail()`)
	charge := charging(byCard("pm_card_visa"))
	if _, err := in.send("k", charge, 0); !inProgress(err) {
		t.Fatal(err)
	}
	await.Until(t, patience, "two tries", func() bool { return tn.attempt(in, "k").Tries >= 2 })
	tn.execute(`DROP TRIGGER fail ON payments; DROP FUNCTION fail()`)
	in.want(201, "k", charge)
	if confirmed := strings.Count(strings.Join(g.steps(), " "), "confirm"); confirmed != 1 {
		t.Errorf("the charge was asked for %d times", confirmed)
	}
}
