package migrations

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Package postgres explains sharded mode (sharded.go there). Here is what it does to the
// schema.

//go:embed sharded.sql
var shardedSQL string

//go:embed citus.sql
var citusSQL string

// unshardedGuards are missing in sharded mode, and shardedGuard is there instead.
var unshardedGuards = []string{
	"payments.payments_claimed_by_key", "refunds.refunds_claimed_by_key",
}

const shardedGuard = "events.events_numbered: " +
	"BEFORE INSERT FOR EACH ROW EXECUTE FUNCTION number_event()"

// shard changes the schema for sharded mode, once. An operator may create the extension of
// Citus before the first migration, or later.
func (d *driver) shard() error {
	var sharded, citus, done bool
	err := d.conn.QueryRow(d.ctx, `
		SELECT is_sharded(), EXISTS (SELECT FROM pg_extension WHERE extname = 'citus'),
			EXISTS (SELECT FROM pg_trigger
				WHERE tgrelid = 'events'::regclass AND tgname = 'events_numbered')`,
	).Scan(&sharded, &citus, &done)
	if err != nil || !sharded || done {
		return err
	}
	return pgx.BeginFunc(d.ctx, d.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(d.ctx, shardedSQL); err != nil {
			return fmt.Errorf("preparing the tables for sharded mode: %w", err)
		}
		if !citus {
			return nil
		}
		if _, err := tx.Exec(d.ctx, citusSQL); err != nil {
			return fmt.Errorf("distributing the tables: %w", err)
		}
		return nil
	})
}

// wantedGuards are the guards that the schema must have in its mode, a line each.
func wantedGuards(ctx context.Context, db queryRower) ([]string, error) {
	var sharded bool
	err := db.QueryRow(ctx, `SELECT coalesce(is_sharded(), false)`).Scan(&sharded)
	if err != nil {
		return nil, err
	}
	var wanted []string
	for guard := range strings.Lines(guards) {
		name, _, _ := strings.Cut(guard, ":")
		if !sharded || !slices.Contains(unshardedGuards, name) {
			wanted = append(wanted, strings.TrimSpace(guard))
		}
	}
	if sharded {
		wanted = append(wanted, shardedGuard)
	}
	return wanted, nil
}
