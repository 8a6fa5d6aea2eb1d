package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// merchantsWithCursor finds the merchants that ever had an endpoint.
const merchantsWithCursor = `SELECT merchant_id FROM feed_cursors WHERE consumer = $1`

// Reap deletes deliveries and attempts that are older than the retention, and those of
// deleted endpoints: up to limit rows of each kind, in sharded mode of each merchant. It
// returns the largest number. A delivery stays as long as its event, so that nothing looks
// undelivered.
func (s *Service) Reap(
	ctx context.Context, retention time.Duration, limit int,
) (most int, err error) {
	reap := func(sql string, args ...any) error {
		tag, err := s.pool.Exec(ctx, sql, args...)
		if err != nil {
			return fmt.Errorf("reaping webhooks: %w", err)
		}
		most = max(most, int(tag.RowsAffected()))
		return nil
	}
	err = postgres.EachMerchant(ctx, s.pool, s.sharded, merchantsWithCursor,
		[]any{outbox.Webhooks}, func(merchantID *int64) error {
			return errors.Join(
				reap(reapOldAttempts, merchantID, limit, retention),
				reap(reapOldDeliveries, merchantID, limit, retention),
				reap(reapOrphanAttempts, merchantID, limit),
				reap(reapOrphanDeliveries, merchantID, limit))
		})
	return most, err
}

const (
	reapOldAttempts = `
		DELETE FROM webhook_attempts
		WHERE ($1::bigint IS NULL OR merchant_id = $1) AND (merchant_id, endpoint_uid, id) IN (
			SELECT a.merchant_id, a.endpoint_uid, a.id
			FROM webhook_attempts a
			WHERE ($1::bigint IS NULL OR a.merchant_id = $1)
				AND a.at < statement_timestamp() - $3::interval
			ORDER BY a.at
			LIMIT $2)`
	reapOldDeliveries = `
		DELETE FROM webhook_deliveries
		WHERE ($1::bigint IS NULL OR merchant_id = $1)
			AND (merchant_id, endpoint_uid, transaction_id, event_id) IN (
				SELECT d.merchant_id, d.endpoint_uid, d.transaction_id, d.event_id
				FROM webhook_deliveries d
				WHERE ($1::bigint IS NULL OR d.merchant_id = $1)
					AND d.begun_at < statement_timestamp() - $3::interval AND NOT EXISTS (
						SELECT FROM events e
						WHERE e.merchant_id = coalesce($1, d.merchant_id)
							AND e.transaction_id = d.transaction_id AND e.id = d.event_id)
				ORDER BY d.begun_at
				LIMIT $2)`
)

// The orphans are found by jumping along the primary key from one endpoint to the next.
var (
	reapOrphanAttempts   = reapOrphans("webhook_attempts", "id")
	reapOrphanDeliveries = reapOrphans("webhook_deliveries", "transaction_id, event_id")
)

func reapOrphans(table, key string) string {
	return `
		WITH RECURSIVE seen AS (
			(SELECT t.merchant_id, t.endpoint_uid FROM ` + table + ` t
				WHERE ($1::bigint IS NULL OR t.merchant_id = $1)
				ORDER BY t.merchant_id, t.endpoint_uid LIMIT 1)
			UNION ALL
			SELECT next.merchant_id, next.endpoint_uid
			FROM seen
			CROSS JOIN LATERAL (
				SELECT t.merchant_id, t.endpoint_uid FROM ` + table + ` t
				WHERE ($1::bigint IS NULL OR t.merchant_id = $1)
					AND (t.merchant_id, t.endpoint_uid) > (seen.merchant_id, seen.endpoint_uid)
				ORDER BY t.merchant_id, t.endpoint_uid LIMIT 1) AS next)
		DELETE FROM ` + table + `
		WHERE ($1::bigint IS NULL OR merchant_id = $1)
			AND (merchant_id, endpoint_uid, ` + key + `) IN (
				SELECT t.merchant_id, t.endpoint_uid, ` + key + `
				FROM seen
				JOIN ` + table + ` t ON t.merchant_id = coalesce($1, seen.merchant_id)
					AND t.endpoint_uid = seen.endpoint_uid
				WHERE NOT EXISTS (
					SELECT FROM webhook_endpoints w
					WHERE w.merchant_id = coalesce($1, seen.merchant_id)
						AND w.uid = seen.endpoint_uid)
				LIMIT $2)`
}
