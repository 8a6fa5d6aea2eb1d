package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/unnest"
)

// result is what came of one leased delivery.
type result struct {
	delivery
	answer
	unsent bool // it was not sent: the instance shuts down, or the event is gone
}

// status is what the delivery becomes, unless its time is up.
func (r *result) status() string {
	switch {
	case r.eventDeleted:
		return "failed"
	case !r.unsent && r.ok():
		return "delivered"
	}
	return "pending"
}

// counts tells whether its mark counts in the metrics. A 410 counts when it disables the
// endpoint.
func (r *result) counts() bool {
	return r.eventDeleted || !r.unsent && r.statusCode != statusGone
}

const statusGone = 410

// mark writes down what came of deliveries, after they were sent. A delivery whose
// lease is not the last one is left alone: another worker has it, or it was sent again
// by hand.
func (s *Service) mark(ctx context.Context, results []result) error {
	var errs []error
	merchant := func(r result) int64 { return r.merchantID }
	for _, group := range postgres.ByMerchant(s.sharded, results, merchant) {
		q := &pgx.Batch{}
		q.Queue(postgres.NotDurable)
		s.queueMarks(q, group)
		queueAttempts(q, group)
		err := s.pool.SendBatch(ctx, q).Close()
		for i := range group {
			if err == nil && group[i].statusCode == statusGone {
				err = s.disable(ctx, &group[i])
			}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("marking webhook deliveries: %w", err)
	}
	return nil
}

// disable disables an endpoint that has answered 410, and gives up the delivery. If the
// endpoint's version has changed since, its URL may be new. Then it stays enabled and
// gets the event. If the process ends before this, the next try gets the 410 again.
func (s *Service) disable(ctx context.Context, r *result) error {
	disabled := false
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE webhook_endpoints
			SET status = 'disabled', disabled_reason = 'gone', version = version + 1
			WHERE merchant_id = $1 AND uid = $2 AND status = 'enabled' AND version = $3`,
			r.merchantID, r.uid, r.endpointVersion)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		disabled = true
		_, err = tx.Exec(ctx, `
			UPDATE webhook_deliveries
			SET status = 'failed'
			WHERE merchant_id = $1 AND endpoint_uid = $2 AND transaction_id = $3 AND event_id = $4
				AND status = 'pending' AND lease IS NULL`,
			r.merchantID, r.uid, r.at.TransactionID, r.at.ID)
		return err
	})
	if err == nil && disabled {
		s.count("failed")
		s.logger.Warn("a webhook endpoint answered 410 and is disabled",
			"merchant_id", r.merchantID, "endpoint_id", r.endpointID)
	}
	return err
}

// queueMarks computes times where the rows are locked, and not in SET: see package
// postgres, sharded.go.
func (s *Service) queueMarks(q *pgx.Batch, results []result) {
	q.Queue(`
		UPDATE webhook_deliveries d
		SET lease = NULL,
			attempts = d.attempts - r.unsent::int,
			next_attempt_at = r.next_attempt_at,
			status = CASE
				WHEN r.status = 'pending' AND r.next_attempt_at > r.give_up_at
				THEN 'failed' ELSE r.status END
		FROM (
			SELECT r.status, r.unsent, r.counts, locked.row, locked.give_up_at,
				locked.next_attempt_at
			FROM unnest($1::bigint[], $2::uuid[], $3::xid8[], $4::uuid[], $5::uuid[], $6::text[],
					$7::bigint[], $8::boolean[], $10::boolean[])
				AS r (merchant_id, endpoint_uid, transaction_id, event_id, lease, status, wait,
					unsent, counts)
			CROSS JOIN LATERAL (
				SELECT d.ctid AS row, d.begun_at + $9::interval AS give_up_at,
					statement_timestamp() + r.wait * interval '1 microsecond' AS next_attempt_at
				FROM webhook_deliveries d
				WHERE d.merchant_id = coalesce($11, r.merchant_id)
					AND d.endpoint_uid = r.endpoint_uid
					AND d.transaction_id = r.transaction_id AND d.event_id = r.event_id
					AND d.lease = r.lease
				FOR UPDATE) AS locked) AS r
		WHERE d.merchant_id = coalesce($11, d.merchant_id) AND d.ctid = r.row
		RETURNING d.status, r.counts`,
		unnest.Column(results, func(r result) int64 { return r.merchantID }),
		unnest.Column(results, func(r result) [16]byte { return r.uid }),
		unnest.Column(results, func(r result) uint64 { return r.at.TransactionID }),
		unnest.Column(results, func(r result) [16]byte { return r.at.ID }),
		unnest.Column(results, func(r result) [16]byte { return r.lease }),
		unnest.Column(results, func(r result) string { return r.status() }),
		unnest.Column(results, func(r result) int64 { return s.waitAfter(&r).Microseconds() }),
		unnest.Column(results, func(r result) bool { return r.unsent }),
		s.schedule.GiveUp,
		unnest.Column(results, func(r result) bool { return r.counts() }),
		unnest.Shared(results, func(r result) int64 { return r.merchantID }),
	).Query(func(rows pgx.Rows) error {
		var status string
		var counts bool
		_, err := pgx.ForEachRow(rows, []any{&status, &counts}, func() error {
			if counts {
				s.count(status)
			}
			return nil
		})
		return err
	})
}

func (s *Service) count(status string) {
	switch status {
	case "delivered":
		s.counts.delivered.Add(1)
	case "failed":
		s.counts.givenUp.Add(1)
	default:
		s.counts.retried.Add(1)
	}
}

// waitAfter is how long the next try waits.
func (s *Service) waitAfter(r *result) time.Duration {
	if r.unsent {
		return 0
	}
	return max(s.schedule.backoff(r.number), min(r.retryAfter, s.schedule.Longest))
}

func queueAttempts(q *pgx.Batch, results []result) {
	var sent []result
	for _, r := range results {
		if !r.unsent {
			sent = append(sent, r)
		}
	}
	if len(sent) == 0 {
		return
	}
	q.Queue(`
		INSERT INTO webhook_attempts (merchant_id, endpoint_uid, id, transaction_id, event_id,
			number, status_code, error, latency_ms, response)
		SELECT a.merchant_id, a.endpoint_uid, a.id, a.transaction_id, a.event_id,
			a.number, a.status_code, a.error, a.latency_ms, a.response
		FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::xid8[], $5::uuid[], $6::bigint[],
				$7::bigint[], $8::text[], $9::bigint[], $10::text[])
			AS a (merchant_id, endpoint_uid, id, transaction_id, event_id, number, status_code,
				error, latency_ms, response)`,
		unnest.Column(sent, func(r result) int64 { return r.merchantID }),
		unnest.Column(sent, func(r result) [16]byte { return r.uid }),
		unnest.Column(sent, func(result) [16]byte { return uuid.Must(uuid.NewV7()) }),
		unnest.Column(sent, func(r result) uint64 { return r.at.TransactionID }),
		unnest.Column(sent, func(r result) [16]byte { return r.at.ID }),
		unnest.Column(sent, func(r result) int64 { return r.number }),
		unnest.Column(sent, func(r result) *int64 { return unnest.Nullable(int64(r.statusCode)) }),
		unnest.Column(sent, func(r result) *string {
			if r.err == nil {
				return nil
			}
			return new(explain(r.err))
		}),
		unnest.Column(sent, func(r result) int64 { return r.took.Milliseconds() }),
		unnest.Column(sent, func(r result) string { return r.response }))
}
