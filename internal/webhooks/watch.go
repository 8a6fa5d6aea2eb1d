package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Watch measures how late the most overdue delivery is, for the metrics. A delivery that
// waits for its next try is not late, and one of a disabled endpoint is not due.
func (s *Service) Watch(ctx context.Context) error {
	var oldest time.Duration
	err := postgres.EachMerchant(ctx, s.pool, s.sharded, merchantsDue, []any{outbox.Webhooks},
		func(merchantID *int64) error {
			late, err := s.oldestDue(ctx, merchantID)
			oldest = max(oldest, late)
			return err
		})
	if err != nil {
		return fmt.Errorf("looking for late webhooks: %w", err)
	}
	s.counts.oldestDue.Store(int64(oldest))
	return nil
}

func (s *Service) oldestDue(
	ctx context.Context, merchantID *int64,
) (late time.Duration, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH RECURSIVE waiting AS (
			(SELECT d.merchant_id, d.endpoint_uid, d.next_attempt_at
				FROM webhook_deliveries d
				WHERE ($1::bigint IS NULL OR d.merchant_id = $1) AND d.status = 'pending'
				ORDER BY d.merchant_id, d.endpoint_uid, d.next_attempt_at
				LIMIT 1)
			UNION ALL
			SELECT next.merchant_id, next.endpoint_uid, next.next_attempt_at
			FROM waiting w
			CROSS JOIN LATERAL (
				SELECT d.merchant_id, d.endpoint_uid, d.next_attempt_at
				FROM webhook_deliveries d
				WHERE ($1::bigint IS NULL OR d.merchant_id = $1) AND d.status = 'pending'
					AND (d.merchant_id, d.endpoint_uid) > (w.merchant_id, w.endpoint_uid)
				ORDER BY d.merchant_id, d.endpoint_uid, d.next_attempt_at
				LIMIT 1) AS next)
		SELECT coalesce(clock_timestamp() - min(w.next_attempt_at), interval '0')
		FROM waiting w
		CROSS JOIN LATERAL (
			SELECT FROM webhook_endpoints e
			WHERE e.merchant_id = coalesce($1, w.merchant_id) AND e.uid = w.endpoint_uid
				AND e.status = 'enabled'
			OFFSET 0) AS e`, merchantID).Scan(&late)
	return late, err
}
