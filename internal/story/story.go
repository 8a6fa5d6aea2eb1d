// Package story reads what happened to one payment, for an operator: its keys, entries,
// events and answers, in the order of time.
//
// No table but payments is indexed by the payment's id: such an index would slow every
// charge. So the story is found by primary keys and by time. A request's id finds its
// answer, which names the payment. Events, entries and answers are stored in the order
// of time, or nearly so, and a moment in them is found by halving.
package story

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// margin covers the time from a request to its commit, and clocks that differ.
const margin = time.Minute

// ErrNotFound means that there is no such payment, or no stored answer of the request.
var ErrNotFound = errors.New("there is no such payment, and no stored answer to such a request " +
	"(a refusal is not stored, and an answer only until its retention ends; a replay's line in " +
	"the log has the original request's id)")

// Story of one payment.
type Story struct {
	MerchantID int64
	PaymentID  uuid.UUID
	Summary    string // the payment as it is now
	Lines      []Line
}

// Line is one row that was stored about the payment.
type Line struct {
	At   time.Time
	Kind string // "key", "entry", "event" or "answer"
	Text string
}

// kinds are in the order in which a transaction writes them.
var kinds = []string{"key", "entry", "event", "answer"}

// reader reads in one snapshot, without a scan of a whole table.
type reader struct {
	pgx.Tx
	Story
	accounts [2]string
	keys     [][2]string    // scope and key
	created  time.Time      // of the payment
	windows  [][2]time.Time // in which the payment has changed
}

// Read tells the story of a payment, or of the payment of a request: "pay_…" or "req_…".
func Read(ctx context.Context, pool *pgxpool.Pool, id string) (*Story, error) {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{
		IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return nil, err
	}
	r := &reader{Tx: tx}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.find(ctx, id) },
		r.readPayment, r.readRefunds, r.readKeys, r.readEvents, r.readEntries, r.readAnswers,
	} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("reading the story of %s: %w", id, err)
		}
	}
	slices.SortStableFunc(r.Lines, func(a, b Line) int {
		return cmp.Or(a.At.Compare(b.At),
			cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)))
	})
	r.Lines = slices.Compact(r.Lines)
	return &r.Story, nil
}

// find finds the payment and its merchant.
func (r *reader) find(ctx context.Context, id string) (err error) {
	if r.PaymentID, err = payments.ParseID(id); err != nil {
		requestID, err := payments.ParseRequestID(id)
		if err != nil {
			return ErrNotFound
		}
		return r.findRequest(ctx, requestID)
	}
	err = r.QueryRow(ctx, `
		SELECT merchant_id
		FROM payments
		WHERE merchant_id = ANY (ARRAY(SELECT id FROM merchants)) AND id = $1`,
		r.PaymentID).Scan(&r.MerchantID)
	return orNotFound(err)
}

func (r *reader) findRequest(ctx context.Context, id uuid.UUID) error {
	var body []byte
	err := r.QueryRow(ctx, `
		SELECT merchant_id, body
		FROM idempotency_answers
		WHERE merchant_id = ANY (ARRAY(SELECT id FROM merchants)) AND request_id = $1`,
		id).Scan(&r.MerchantID, &body)
	if err != nil {
		return orNotFound(err)
	}
	var about struct {
		ID        string `json:"id"`
		PaymentID string `json:"payment_id"` // of a refund, or of a decline
	}
	if err := json.Unmarshal(body, &about); err != nil {
		return err
	}
	r.PaymentID, err = payments.ParseID(cmp.Or(about.PaymentID, about.ID))
	return err
}

func orNotFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

func (r *reader) readPayment(ctx context.Context) error {
	var authorizedUntil *time.Time
	var status, currency, key string
	var amount, captured, refunded, version int64
	err := r.QueryRow(ctx, `
		SELECT status, amount, currency, source_account, destination_account, amount_captured,
			amount_refunded, version, idempotency_key, created_at, authorized_until
		FROM payments
		WHERE merchant_id = $1 AND id = $2`, r.MerchantID, r.PaymentID,
	).Scan(&status, &amount, &currency, &r.accounts[0], &r.accounts[1], &captured, &refunded,
		&version, &key, &r.created, &authorizedUntil)
	if err != nil {
		return err
	}
	r.Summary = fmt.Sprintf("%s: %d %s from %s to %s, captured %d, refunded %d, version %d",
		status, amount, currency, r.accounts[0], r.accounts[1], captured, refunded, version)
	r.keys = [][2]string{{"client", key}, {"service", "expire:" + payments.FormatID(r.PaymentID)}}
	until := r.created
	if authorizedUntil != nil { // captured or canceled before that, or soon after it
		until = *authorizedUntil
	}
	r.addWindow(r.created, until)
	return nil
}

func (r *reader) addWindow(from, until time.Time) {
	r.windows = append(r.windows, [2]time.Time{from.Add(-margin), until.Add(margin)})
}

func (r *reader) readRefunds(ctx context.Context) error {
	rows, err := r.Query(ctx, `
		SELECT idempotency_key, created_at
		FROM refunds
		WHERE merchant_id = $1 AND payment_id = $2`, r.MerchantID, r.PaymentID)
	if err != nil {
		return err
	}
	var key string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&key, &at}, func() error {
		r.keys = append(r.keys, [2]string{"client", key})
		r.addWindow(at, at)
		return nil
	})
	return err
}

// readKeys reads the keys of the charge, the refunds and the expiry. Those of a capture
// and a cancellation cannot be found: nothing that is stored leads to them.
func (r *reader) readKeys(ctx context.Context) error {
	for _, key := range r.keys {
		err := r.collect(ctx, "key", `
			SELECT created_at, format('%s, claimed by req_%s', operation,
				replace(request_id::text, '-', '')) || $5
			FROM idempotency_keys
			WHERE merchant_id = $1 AND payment_id = $2 AND scope = $3 AND key = $4`,
			key[0], key[1], ": "+shortened(key[1]))
		if err != nil {
			return err
		}
	}
	return nil
}

// shortened is the beginning of a key, and never all of it.
func shortened(key string) string { return key[:min(8, len(key)/2)] + "…" }

// collect adds the rows of a query, each a time and a text, as lines. Its first
// parameters are the merchant and the payment.
func (r *reader) collect(ctx context.Context, kind, sql string, args ...any) error {
	rows, err := r.Query(ctx, sql, append([]any{r.MerchantID, r.PaymentID}, args...)...)
	if err != nil {
		return err
	}
	line := Line{Kind: kind}
	_, err = pgx.ForEachRow(rows, []any{&line.At, &line.Text}, func() error {
		r.Lines = append(r.Lines, line)
		return nil
	})
	return err
}

func (r *reader) readEvents(ctx context.Context) error {
	for _, window := range r.windows {
		from, err := r.firstTransaction(ctx, window[0])
		if err != nil {
			return err
		}
		until, err := r.firstTransaction(ctx, window[1])
		if err != nil {
			return err
		}
		err = r.collect(ctx, "event", `
			SELECT created_at, type || ' evt_'
				|| lpad(to_hex(transaction_id::text::bigint), 16, '0')
				|| replace(id::text, '-', '')
			FROM events
			WHERE merchant_id = $1 AND payment_id = $2
				AND transaction_id >= $3::bigint::text::xid8
				AND transaction_id < $4::bigint::text::xid8`, from, until)
		if err != nil {
			return err
		}
	}
	return nil
}

// moments are the times of the payment and of all lines so far.
func (r *reader) moments() []time.Time {
	moments := []time.Time{r.created}
	for _, line := range r.Lines {
		moments = append(moments, line.At)
	}
	slices.SortFunc(moments, time.Time.Compare)
	return slices.Compact(moments)
}

// firstTransaction is the first transaction with an event of the merchant at that time
// or later.
func (r *reader) firstTransaction(ctx context.Context, at time.Time) (int64, error) {
	return r.first(ctx, `
		SELECT transaction_id::text::bigint, created_at >= $3
		FROM events
		WHERE merchant_id = $1 AND transaction_id >= $2::bigint::text::xid8
		ORDER BY transaction_id
		LIMIT 1`, at)
}

// first finds the first number at which there is a row from that time on. The query
// reads the first row from the number $2 on, and whether it is that late.
func (r *reader) first(ctx context.Context, sql string, args ...any) (int64, error) {
	low, high := int64(0), int64(1)<<62 // low is no later than it
	for low < high {
		middle := low + (high-low)/2
		var number int64
		var late bool
		err := r.QueryRow(ctx, sql, append([]any{r.MerchantID, middle}, args...)...).
			Scan(&number, &late)
		switch {
		case errors.Is(err, pgx.ErrNoRows), err == nil && late:
			high = middle
		case err != nil:
			return 0, err
		default:
			low = number + 1
		}
	}
	return low, nil
}

// changes are the times at which the payment's entries may have been written: those of
// its events. If the retention has deleted some of them, the windows.
func (r *reader) changes(ctx context.Context) (changes [][2]time.Time, err error) {
	var deleted bool
	if err := r.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT FROM event_horizons WHERE merchant_id = $1 AND created_before > $2)`,
		r.MerchantID, r.created).Scan(&deleted); err != nil || deleted {
		return r.windows, err
	}
	for _, moment := range r.moments() {
		changes = append(changes, [2]time.Time{moment, moment.Add(time.Microsecond)})
	}
	return changes, nil
}

func (r *reader) readEntries(ctx context.Context) error {
	changes, err := r.changes(ctx)
	if err != nil {
		return err
	}
	for _, account := range r.accounts {
		for _, change := range changes {
			from, err := r.firstEntry(ctx, account, change[0])
			if err != nil {
				return err
			}
			until, err := r.firstEntry(ctx, account, change[1])
			if err != nil {
				return err
			}
			err = r.collect(ctx, "entry", `
				SELECT at, format('%s #%s: %s %s, balance %s', account_id, sequence, amount,
					currency, balance_after)
				FROM entries
				WHERE merchant_id = $1 AND payment_id = $2 AND account_id = $3
					AND sequence >= $4 AND sequence < $5`, account, from, until)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// firstEntry is the number of the first entry of the account at that time or later.
func (r *reader) firstEntry(ctx context.Context, account string, at time.Time) (int64, error) {
	return r.first(ctx, `
		SELECT sequence, at >= $3
		FROM entries
		WHERE merchant_id = $1 AND account_id = $4 AND sequence >= $2
		ORDER BY sequence
		LIMIT 1`, at, account)
}

// readAnswers reads the answers that were stored with a change. An answer has the time
// of its transaction, and its request's id has the time of the request.
func (r *reader) readAnswers(ctx context.Context) error {
	for _, moment := range r.moments() {
		err := r.collect(ctx, "answer", `
			SELECT created_at, format('%s to req_%s', status, replace(request_id::text, '-', ''))
			FROM idempotency_answers
			WHERE merchant_id = $1 AND request_id BETWEEN $3 AND $4 AND created_at = $5
				AND position('pay_' || replace($2::uuid::text, '-', '')
					IN convert_from(body, 'UTF8')) > 0`,
			idempotency.FirstID(moment.Add(-margin)), idempotency.FirstID(moment.Add(margin)),
			moment)
		if err != nil {
			return err
		}
	}
	return nil
}
