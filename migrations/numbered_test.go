package migrations_test

import (
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The ids say from which transaction on an endpoint gets which events. A statement cannot
// choose them.
func TestEndpointHasTheIDsOfTheTransactionsThatDecided(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // the endpoint has no cursor
	execute(t, db.Pool, books)
	for _, step := range []struct{ statement, since, changed string }{
		{strings.TrimSuffix(endpoint(`{}`), ";"), "own", "own"},
		{
			`UPDATE webhook_endpoints SET version = 2, url = 'https://example.com/2'`,
			"earlier", "earlier",
		},
		{`UPDATE webhook_endpoints SET event_types = '{a}'`, "earlier", "own"},
		{
			`UPDATE webhook_endpoints SET status = 'disabled', disabled_reason = 'gone'`,
			"earlier", "own",
		},
	} {
		var since, changed string
		err := db.Pool.QueryRow(t.Context(), step.statement+`
			RETURNING CASE since_transaction_id
					WHEN pg_current_xact_id() THEN 'own' ELSE 'earlier' END,
				CASE changed_transaction_id
					WHEN pg_current_xact_id() THEN 'own' ELSE 'earlier' END`,
		).Scan(&since, &changed)
		if err != nil || since != step.since || changed != step.changed {
			t.Errorf("%s: since is %s and changed %s, want %s and %s (%v)", step.statement,
				since, changed, step.since, step.changed, err)
		}
	}
}
