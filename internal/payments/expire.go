package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

// ExpireAuthorizations cancels up to limit authorizations whose time is over, of any
// merchant, and returns how many there were. Fewer than limit means that none is left.
// An error means that some may be left.
//
// Every instance may call it at any time. Each cancellation is an operation like any
// other, under a key that names the payment, so it happens once.
func (s *Service) ExpireAuthorizations(ctx context.Context, limit int) (int, error) {
	expired, err := s.expired(ctx, limit)
	if err != nil {
		return 0, err
	}
	var canceling errgroup.Group
	for _, payment := range expired {
		canceling.Go(func() error {
			began := time.Now() //nolint:forbidigo // for the log
			op := newExpire(payment)
			reply, err := s.do(ctx, op)
			if _, refused := errors.AsType[*Refusal](err); refused {
				return nil // captured or canceled meanwhile
			}
			if _, asked := errors.AsType[*InProgress](err); asked {
				return nil // a card's: an instance asks the processor to end it
			}
			if err == nil && reply.RequestID == op.claim.RequestID { // no other instance's
				s.logger.InfoContext(ctx, "authorization expired",
					"request_id", FormatRequestID(reply.RequestID),
					"merchant_id", payment.merchantID, "payment_id", FormatID(payment.id),
					"operation", reply.Operation, "result", "done",
					"duration_seconds", time.Since(began).Seconds())
			}
			return err
		})
	}
	return len(expired), canceling.Wait()
}

// newExpire is the service's own operation, in a scope of keys that no caller can
// choose from.
func newExpire(payment paymentRef) *operation {
	caller := Caller{
		Key: idempotency.Key{
			MerchantID: payment.merchantID,
			Scope:      idempotency.ScopeService,
			Value:      operationExpire + ":" + FormatID(payment.id),
		},
		RequestID: newID(),
	}
	f := fingerprintOn(operationExpire, payment.id)
	return newOperation(caller, f, operationExpire, payment.id, decideExpire)
}

// decideExpire cancels an authorization whose time is over, by the database's clock.
func decideExpire(st *state, claim *idempotency.Claim) decision {
	payment, refusal := st.payment(claim)
	switch {
	case refusal != nil:
		return decision{refusal: refusal}
	case st.clock.Before(payment.AuthorizedUntil):
		return decision{refusal: refuseState("the authorization has not expired yet")}
	}
	return st.cancel(claim, CancellationExpired)
}

// The clock is read once, in a subquery. Read for each row, it could not bound what is
// read of the index.
const expiredSQL = `
	SELECT merchant_id, id
	FROM payments
	WHERE status = 'authorized' AND pending_operation IS NULL
		AND authorized_until <= (SELECT clock_timestamp())
	ORDER BY authorized_until
	LIMIT $1`

// expired finds authorizations whose time is over, the oldest first. Whether one really
// is over is decided again, on its locked row.
func (s *Service) expired(ctx context.Context, limit int) ([]paymentRef, error) {
	rows, err := s.pool.Query(ctx, expiredSQL, limit)
	if err != nil {
		return nil, fmt.Errorf("looking for expired authorizations: %w", err)
	}
	expired, err := pgx.CollectRows(rows,
		func(row pgx.CollectableRow) (ref paymentRef, err error) {
			err = row.Scan(&ref.merchantID, &ref.id)
			return ref, err
		})
	if err != nil {
		return nil, fmt.Errorf("looking for expired authorizations: %w", err)
	}
	return expired, nil
}
