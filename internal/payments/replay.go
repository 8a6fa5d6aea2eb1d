package payments

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// replayOrRefuse handles a request that breaks a rule. If its key has been answered
// already, it gets that answer: the rule may be younger than the answer. It does not
// queue for a batch, because rules seldom become stricter.
//
// A replay is an acknowledgement, so it is confirmed. Replays out of a batch need no
// such call, because their COMMIT waits for the standby (see batch.lookUp).
func (s *Service) replayOrRefuse(
	ctx context.Context, op *operation, broken error,
) (reply Reply, err error) {
	err = postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) error {
		record, clock, err := idempotency.Find(ctx, conn, op.claim.Key)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		case record == nil:
			return broken
		}
		reply, err = s.replyTo(op, record, clock)
		return err
	})
	if err != nil {
		return Reply{}, translate(err)
	}
	return reply, nil
}

// ReplayCharge is Charge for a request that is refused now, unless an earlier one has taken
// its key.
func (s *Service) ReplayCharge(
	ctx context.Context, caller Caller, charge Charge, refused error,
) (Reply, error) {
	return s.replayOrRefuse(ctx, newCharge(caller, charge), refused)
}
