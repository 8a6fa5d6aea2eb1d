package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Put makes the endpoint under the id that its owner chose, or replaces its terms. The
// same call again does not move the version. secret is the one that this call has made,
// else "". Only an unconditional call makes an endpoint.
func (s *Service) Put(
	ctx context.Context, ref Ref, terms Terms, condition IfVersion,
) (endpoint Endpoint, created bool, secret string, err error) {
	if !ValidID(ref.ID) {
		return Endpoint{}, false, "", ErrInvalidID
	}
	if err := terms.check(); err != nil {
		return Endpoint{}, false, "", err
	}
	secret = newSecret()
	err = postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) (err error) {
		endpoint, created, err = put(ctx, conn, ref, terms, condition, secret)
		return err
	})
	if !created || terms.Secret != nil {
		secret = ""
	}
	return endpoint, created, secret, err
}

// put is one transaction. It holds the merchant's cursor, which makes it the only one
// that adds or deletes an endpoint of the merchant.
func put(
	ctx context.Context, conn *pgx.Conn, ref Ref, terms Terms, condition IfVersion, secret string,
) (endpoint Endpoint, created bool, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		now, err := holdCursor(ctx, tx, ref.MerchantID)
		if errors.Is(err, pgx.ErrNoRows) {
			if err := makeCursor(ctx, tx, ref.MerchantID); err != nil {
				return err
			}
			now, err = holdCursor(ctx, tx, ref.MerchantID)
		}
		if err != nil {
			return err
		}
		endpoint, err = replace(ctx, tx, ref, terms, condition, now)
		if errors.Is(err, pgx.ErrNoRows) && condition == 0 {
			created = true
			endpoint, err = insert(ctx, tx, ref, terms, secret)
		}
		return err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Endpoint{}, false, whyNotPut(ctx, conn, ref)
	case errors.Is(err, ErrTooMany):
		return Endpoint{}, false, err
	case err != nil:
		return Endpoint{}, false, fmt.Errorf("putting a webhook endpoint: %w", err)
	}
	return endpoint, created, nil
}

// replace replaces the terms of an endpoint, or returns pgx.ErrNoRows. A new secret
// leaves the one before valid for a while after now.
func replace(
	ctx context.Context, tx pgx.Tx, ref Ref, terms Terms, condition IfVersion, now time.Time,
) (Endpoint, error) {
	return scanEndpoint(tx.QueryRow(ctx, `
		UPDATE webhook_endpoints w
		SET url = $3,
			event_types = $4::text[],
			status = coalesce($5::text, w.status),
			disabled_reason = CASE coalesce($5, w.status)
				WHEN 'disabled' THEN coalesce(w.disabled_reason, 'requested') END,
			secret = coalesce($6::text, w.secret),
			previous_secret = CASE WHEN $6 <> w.secret THEN w.secret ELSE w.previous_secret END,
			previous_valid_until = CASE WHEN $6 <> w.secret THEN $7::timestamptz
				ELSE w.previous_valid_until END,
			version = w.version + ((w.url, w.event_types, w.status, w.secret)
				IS DISTINCT FROM ($3, $4::text[], coalesce($5, w.status),
					coalesce($6, w.secret)))::int
		WHERE w.merchant_id = $1 AND w.id = $2 AND ($8::bigint <= 0 OR w.version = $8)
		RETURNING `+endpointColumns,
		ref.MerchantID, ref.ID, terms.URL, terms.types(), terms.Status, terms.Secret,
		now.Add(rotationPeriod), int64(condition)))
}

// insert makes an endpoint, or returns ErrTooMany.
func insert(
	ctx context.Context, tx pgx.Tx, ref Ref, terms Terms, secret string,
) (Endpoint, error) {
	var have int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM webhook_endpoints WHERE merchant_id = $1`,
		ref.MerchantID).Scan(&have)
	switch {
	case err != nil:
		return Endpoint{}, err
	case have >= endpointsMax:
		return Endpoint{}, ErrTooMany
	}
	return scanEndpoint(tx.QueryRow(ctx, `
		INSERT INTO webhook_endpoints
			(merchant_id, id, url, event_types, status, disabled_reason, secret)
		VALUES ($1, $2, $3, $4, coalesce($5::text, 'enabled'),
			CASE WHEN $5 = 'disabled' THEN 'requested' END, coalesce($6::text, $7))
		RETURNING `+endpointColumns,
		ref.MerchantID, ref.ID, terms.URL, terms.types(), terms.Status, terms.Secret, secret))
}

func whyNotPut(ctx context.Context, conn *pgx.Conn, ref Ref) error {
	switch _, err := get(ctx, conn, ref); {
	case errors.Is(err, ErrNotFound):
		return ErrNoVersion
	case err != nil:
		return err
	}
	return ErrVersionMismatch
}

// makeCursor makes the fan-out's cursor of a merchant that has none, at the end of its
// feed. Events of transactions that still run come after it.
func makeCursor(ctx context.Context, tx pgx.Tx, merchantID int64) error {
	var last outbox.Position
	q := &pgx.Batch{}
	q.Queue(postgres.InIndexOrder)
	q.Queue(`
		(SELECT 1 AS choice, e.transaction_id, e.id
			FROM events e
			WHERE e.merchant_id = $1
				AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
			ORDER BY e.transaction_id DESC, e.id DESC
			LIMIT 1)
		UNION ALL
		SELECT 2, h.transaction_id, h.event_id FROM event_horizons h WHERE h.merchant_id = $1
		ORDER BY choice
		LIMIT 1`, merchantID,
	).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{nil, &last.TransactionID, (*[16]byte)(&last.ID)},
			func() error { return nil })
		return err
	})
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return fmt.Errorf("reading the end of the feed: %w", err)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO feed_cursors (merchant_id, consumer, transaction_id, event_id)
		VALUES ($1, $2, $3, $4)
		ON CONFLICT (merchant_id, consumer) DO NOTHING`,
		merchantID, outbox.Webhooks, last.TransactionID, last.ID)
	return err
}

// holdCursor makes other changes of the merchant's set of endpoints wait until the end of
// the transaction. The fan-out's workers pass over a cursor that is held. It returns the
// database's time, or pgx.ErrNoRows if the merchant has no cursor.
func holdCursor(ctx context.Context, tx pgx.Tx, merchantID int64) (now time.Time, err error) {
	err = tx.QueryRow(ctx, `
		SELECT clock_timestamp() FROM feed_cursors
		WHERE merchant_id = $1 AND consumer = $2
		FOR UPDATE`, merchantID, outbox.Webhooks).Scan(&now)
	return now, err
}

// Delete deletes the endpoint. What is to be delivered to it is not sent any more.
func (s *Service) Delete(ctx context.Context, ref Ref, condition IfVersion) error {
	return postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) error {
		deleted := false
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := holdCursor(ctx, tx, ref.MerchantID)
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			tag, err := tx.Exec(ctx, `
				DELETE FROM webhook_endpoints
				WHERE merchant_id = $1 AND id = $2 AND ($3::bigint <= 0 OR version = $3)`,
				ref.MerchantID, ref.ID, int64(condition))
			deleted = tag.RowsAffected() == 1
			return err
		})
		if err != nil {
			return fmt.Errorf("deleting a webhook endpoint: %w", err)
		}
		if deleted {
			return nil
		}
		if _, err := get(ctx, conn, ref); err != nil {
			return err
		}
		return ErrVersionMismatch
	})
}

// Get reads an endpoint, or returns ErrNotFound.
func (s *Service) Get(ctx context.Context, ref Ref) (Endpoint, error) {
	return get(ctx, s.pool, ref)
}

func get(ctx context.Context, db postgres.Querier, ref Ref) (endpoint Endpoint, err error) {
	if !ValidID(ref.ID) {
		return Endpoint{}, ErrNotFound
	}
	endpoint, err = scanEndpoint(db.QueryRow(ctx, `
		SELECT `+endpointColumns+`
		FROM webhook_endpoints
		WHERE merchant_id = $1 AND id = $2`, ref.MerchantID, ref.ID))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Endpoint{}, ErrNotFound
	case err != nil:
		return Endpoint{}, fmt.Errorf("reading a webhook endpoint: %w", err)
	}
	return endpoint, nil
}

// List reads up to limit of a merchant's endpoints, ascending by id, after the given id;
// "" is before all.
func (s *Service) List(
	ctx context.Context, merchantID int64, afterID string, limit int,
) ([]Endpoint, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+endpointColumns+`
		FROM webhook_endpoints
		WHERE merchant_id = $1 AND id > $2
		ORDER BY id
		LIMIT $3`, merchantID, afterID, limit)
	if err != nil {
		return nil, fmt.Errorf("listing webhook endpoints: %w", err)
	}
	endpoints, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Endpoint, error) {
		return scanEndpoint(row)
	})
	if err != nil {
		return nil, fmt.Errorf("listing webhook endpoints: %w", err)
	}
	return endpoints, nil
}

const endpointColumns = `merchant_id, id, url, event_types, status,
	coalesce(disabled_reason, ''), version, created_at, uid`

func scanEndpoint(row pgx.Row) (e Endpoint, err error) {
	err = row.Scan(
		&e.MerchantID, &e.ID, &e.URL, &e.EventTypes, &e.Status, &e.DisabledReason, &e.Version,
		&e.CreatedAt, (*[16]byte)(&e.uid))
	return e, err
}
