package app

import (
	"context"
	"errors"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// untried is what was never run on a cluster of Citus. docs/scale.md says what was.
const untried = "events, webhooks, messages and cards"

// chooseMode finds out whether the database is in sharded mode (package postgres). Then
// what was never tried there is off, unless the operator switches it on. The reaper of
// answers and the expiry of authorizations stay on: without them, money stays held.
func (in *Instance) chooseMode(ctx context.Context) (err error) {
	in.sharded, err = postgres.IsSharded(ctx, in.Pools.General)
	switch {
	case err != nil || !in.sharded:
		return err
	case in.config.ShardedUntried:
		in.logger.Warn("sharded mode, with parts that were never run on a Citus cluster",
			"parts", untried)
	case in.config.NATS.URL != "" || in.config.Processor.SecretKey != "":
		return errors.New("the database is in sharded mode, and messages and cards were never " +
			"run on a Citus cluster: leave out NATS_URL and STRIPE_SECRET_KEY, or set " +
			"SHARDED_UNTRIED=true")
	default:
		in.logger.Info("sharded mode", "off", untried)
	}
	return nil
}

// feedOff tells whether nobody may read the feed of events, nor be told of them.
func (in *Instance) feedOff() bool { return in.sharded && !in.config.ShardedUntried }
