package cards

import (
	"testing"
	"time"
)

// The second refund of one attempt is like the first in all but its id.
func TestRefundThatWasMadeTwiceIsReportedOnce(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	id := in.want(201, "k", charging(byCard("pm_card_visa"))).PaymentID
	in.want(201, "other", refunding(id, 100))
	in.want(201, "back", refunding(id, 100))
	compare := func() (found []Kind) {
		t.Helper()
		now := time.Now()
		_, err := in.Reconcile(t.Context(), Comparison{
			Since: now.Add(-time.Hour), Until: now.Add(time.Minute),
			Report: func(d Difference) { found = append(found, d.Kind) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := compare(); len(found) != 0 {
		t.Fatalf("before it, the books differ: %v", found)
	}
	a := tn.attempt(in, "back")
	if _, err := in.processor.Refund(t.Context(), "another key", a.IntentID, a.Amount,
		in.owner(a)); err != nil {
		t.Fatal(err)
	}
	tn.dashboard = true
	if found := compare(); len(found) != 1 || found[0] != KindRefundedTwice {
		t.Errorf("the differences are %v, want %v", found, KindRefundedTwice)
	}
}
