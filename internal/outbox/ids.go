package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// CheckIDs returns ErrForeignIDs if an event, or one that the retention has deleted, has
// a transaction id that this database cluster has not given out yet. pg_dump takes the
// ids along, and a new cluster begins to count at the beginning.
//
// The feed would not show such an event until the cluster reaches its id. New events
// would come before it, so a reader who has seen it would never see them.
func CheckIDs(ctx context.Context, db postgres.Querier) error {
	var id, next uint64
	// It names all merchants, because the primary key begins with the merchant.
	err := db.QueryRow(ctx, `
		SELECT transaction_id, pg_snapshot_xmax(pg_current_snapshot())
		FROM events
		WHERE merchant_id = ANY (ARRAY(SELECT id FROM merchants))
			AND transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
		UNION ALL
		SELECT transaction_id, pg_snapshot_xmax(pg_current_snapshot())
		FROM event_horizons
		WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
		LIMIT 1`).Scan(&id, &next)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("looking for events of another cluster: %w", err)
	}
	return fmt.Errorf("%w: there is an event of transaction %d, and the next transaction here "+
		"gets %d; use up the ids between, as docs/operations.md says under \"After a pg_restore\"",
		ErrForeignIDs, id, next)
}
