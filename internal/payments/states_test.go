package payments

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// transition is a row of payment_transitions in the schema.
type transition struct{ From, Operation, To string }

func readTransitions(t *testing.T, db *pgtest.DB) []transition {
	t.Helper()
	rows, err := db.Pool.Query(t.Context(),
		`SELECT from_status, operation, to_status FROM payment_transitions()`)
	if err != nil {
		t.Fatal(err)
	}
	transitions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[transition])
	if err != nil {
		t.Fatal(err)
	}
	return transitions
}

const picturePath = "../../docs/payment-states.md"

// picture draws the states, for readers. It is generated:
// UPDATE_DOCS=1 go test ./internal/payments -run Picture
func picture(transitions []transition) string {
	var b strings.Builder
	b.WriteString("# The states of a payment\n\n" +
		"Drawn from `payment_transitions` in [the " +
		"schema](../migrations/000004_payments.up.sql), " +
		"which refuses every other change of status, and from\n" +
		"[states.go](../internal/payments/states.go). " +
		"A test keeps this page true. `begin` and `settle` are those of card payments.\n\n" +
		"```mermaid\nstateDiagram-v2\n")
	for _, t := range transitions {
		from := t.From
		if from == "" {
			from = "[*]"
		}
		fmt.Fprintf(&b, "    %s --> %s: %s\n", from, t.To, t.Operation)
	}
	fmt.Fprintf(&b, "    %[1]s --> %[1]s: %[2]s\n```\n", requiredStatus[operationRefund],
		operationRefund)
	return b.String()
}

func TestPictureOfTheStatesIsTrue(t *testing.T) {
	t.Parallel()
	want := picture(readTransitions(t, pgtest.New(t)))
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(picturePath, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	drawn, err := os.ReadFile(picturePath)
	if err != nil || string(drawn) != want {
		t.Errorf("%s is not what the schema says (%v); draw it again: "+
			"UPDATE_DOCS=1 go test ./internal/payments -run Picture", picturePath, err)
	}
}

// The code requires a status for each operation, and the schema refuses every other
// transition. Both must have the same state machine.
func TestSchemaAndCodeHaveTheSameStateMachine(t *testing.T) {
	t.Parallel()
	for _, row := range readTransitions(t, pgtest.New(t)) {
		if row.From == "" || row.Operation == operationSettle {
			continue // it makes a payment, or the attempt says what it requires
		}
		if required := requiredStatus[row.Operation]; string(required) != row.From {
			t.Errorf("%s is for a payment that is %s; the code requires %q",
				row.Operation, row.From, required)
		}
	}
}
