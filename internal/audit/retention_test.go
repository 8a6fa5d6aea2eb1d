package audit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A deleted event is not one that was never written. A younger change without its event is.
func TestEventsThatTheRetentionHasDeletedAreNotMissing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	keepBooks(t, db)
	admin := superuser(t, db)
	deleted := 0
	for deleted < 8 { // of 8 events, after each of which the books are in order
		await.Until(t, time.Minute, "transactions of other tests have ended", func() bool {
			n, err := outbox.DeleteExpired(t.Context(), db.Pool, time.Hour, 1)
			if err != nil {
				t.Fatal(err)
			}
			deleted += n
			return n == 1
		})
		violations, err := audit.Run(t.Context(), db.Pool, 100)
		if err != nil || len(violations) > 0 {
			t.Fatalf("after %d deleted events, the audit reports %v, %v", deleted, violations, err)
		}
	}
	want := []string{"i8 payment c1: is succeeded, with 0 events that say so"}
	if got := afterBreaking(t, admin, `
		UPDATE payments SET created_at = '2026-11-01 10:01Z' WHERE id = named('c1')`,
		100); !slices.Equal(got, want) {
		t.Errorf("of a younger payment without its event, it reports %q, want %q", got, want)
	}
}
