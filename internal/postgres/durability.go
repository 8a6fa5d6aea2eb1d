package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNotDurable means that the server may acknowledge a COMMIT and lose it in a crash.
var ErrNotDurable = errors.New("the database may lose what it has committed")

// CheckDurability reads the settings that make COMMIT a promise, as they are by default
// for this login. The settings of the money connections do not hide a role or a
// database that is set up to lose data.
func (p *Pools) CheckDurability(ctx context.Context) error {
	var fsync, synchronousCommit, fullPageWrites string
	err := p.Probe.QueryRow(ctx, `
		SELECT current_setting('fsync'), current_setting('synchronous_commit'),
			current_setting('full_page_writes')`,
	).Scan(&fsync, &synchronousCommit, &fullPageWrites)
	if err != nil {
		return fmt.Errorf("reading the durability settings: %w", err)
	}
	switch {
	case fsync != "on":
		return fmt.Errorf("%w: fsync is %s", ErrNotDurable, fsync)
	case synchronousCommit != "on" && synchronousCommit != "remote_apply":
		return fmt.Errorf("%w: synchronous_commit is %s", ErrNotDurable, synchronousCommit)
	case fullPageWrites != "on":
		return fmt.Errorf("%w: full_page_writes is %s", ErrNotDurable, fullPageWrites)
	}
	return nil
}

// ErrReadOnly means that the database takes no writes: it is a standby, or was made
// read-only.
var ErrReadOnly = errors.New("the database is read-only")

// protocolViolation is what a pooler says about settings that it does not know. Postgres
// says it about malformed messages only.
const protocolViolation = "08P01"

// CheckWritable returns ErrReadOnly if a transaction could not write.
func (p *Pools) CheckWritable(ctx context.Context) error {
	var readOnly string
	if err := p.Probe.QueryRow(ctx, `SELECT current_setting('transaction_read_only')`).
		Scan(&readOnly); err != nil {
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok &&
			refused.Code == protocolViolation {
			return fmt.Errorf("%w: %w", ErrPooler, err)
		}
		return fmt.Errorf("asking whether the database takes writes: %w", err)
	}
	if readOnly != "off" {
		return ErrReadOnly
	}
	return nil
}

// CheckCommit returns nil if the database commits now, as it would a money transaction.
func (p *Pools) CheckCommit(ctx context.Context) error {
	return p.commitProbe(ctx, WaitForStandby)
}

// CheckRecovery is for the time after money transactions have failed. It returns nil if
// the database commits, has space for a new file, and can load the language of the
// triggers of a charge.
func (p *Pools) CheckRecovery(ctx context.Context) error {
	// first without TRUNCATE, whose lock would be kept while a COMMIT hangs
	if err := p.CheckCommit(ctx); err != nil {
		return err
	}
	return p.commitProbe(ctx,
		`DO $$ BEGIN NULL; END $$`,
		`TRUNCATE readiness_probe`,
		`INSERT INTO readiness_probe (at) VALUES (clock_timestamp())`)
}

func (p *Pools) commitProbe(ctx context.Context, statements ...string) error {
	conn, err := p.Probe.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Release() // the pool closes a connection that is not idle
	return commitSafely(ctx, conn.Conn(), statements...)
}
