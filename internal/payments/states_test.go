package payments

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

const picturePath = "../../docs/payment-states.md"

// picture draws the transitions, for readers. It is generated: UPDATE_DOCS=1 go test
// ./internal/payments -run Picture
func picture() string {
	var b strings.Builder
	b.WriteString("# The states of a payment\n\n" +
		"Drawn from the table in [states.go](../internal/payments/states.go), which decides; a test keeps this page true.\n\n" +
		"```mermaid\nstateDiagram-v2\n")
	end := func(status Status) string {
		if status == "" {
			return "[*]"
		}
		return string(status)
	}
	for _, t := range transitions {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", end(t.from), end(t.to), t.operation)
	}
	b.WriteString("```\n")
	return b.String()
}

func TestThePictureOfTheStatesIsTheTable(t *testing.T) {
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(picturePath, []byte(picture()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	drawn, err := os.ReadFile(picturePath)
	if err != nil || string(drawn) != picture() {
		t.Errorf("%s is not what states.go says (%v); make it anew: UPDATE_DOCS=1 go test ./internal/payments -run Picture",
			picturePath, err)
	}
}

// The database refuses what the table does not have. It knows one state more, in which
// a card's payment will begin.
func TestTheSchemaKnowsTheSameStateMachine(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, map[string]int64{"a": 100, "b": 0})
	paid := charge(t, s, merchantID, "k", Charge{Amount: usd(5), SourceAccount: "a", DestinationAccount: "b"}).PaymentID
	for _, from := range statuses {
		for _, to := range statuses {
			legal := from == to || from == statusProcessing && to != StatusCanceled ||
				slices.ContainsFunc(transitions, func(t transition) bool { return t.from == from && t.to == to })
			tx, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			const free = `
				ALTER TABLE payments DROP CONSTRAINT payments_captured_when_succeeded,
					DROP CONSTRAINT payments_decline_has_a_code, DROP CONSTRAINT payments_authorized_has_an_end,
					DISABLE TRIGGER payments_transition_legal;`
			_, err = tx.Exec(t.Context(), free+`
				UPDATE payments SET status = '`+string(from)+`';
				ALTER TABLE payments ENABLE TRIGGER payments_transition_legal;`)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(t.Context(), `UPDATE payments SET status = $2 WHERE id = $1`, paid, to)
			if (err == nil) != legal {
				t.Errorf("from %s to %s: %v; legal: %t", from, to, err, legal)
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
