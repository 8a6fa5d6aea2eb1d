package cards

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// State of an attempt.
type State string

// The states of an attempt.
const (
	StateOpen    State = "open"    // an instance works on it, or will
	StateReview  State = "review"  // a person has to decide
	StateSettled State = "settled" // the result is in our books
)

// Attempt is one keyed request whose effect is at the processor. Package payments begins
// and settles it. This package makes all writes between, under a lease. (Events of the
// processor have no lease: see adopt and nudge.)
type Attempt struct {
	MerchantID    int64
	ID            uuid.UUID
	Operation     string
	PaymentID     uuid.UUID
	RefundID      uuid.UUID // zero: it is no refund
	Amount        ledger.Money
	PaymentMethod string
	State         State
	IntentID      string // "" until the intent is known
	Generation    int
	DeclineCode   string // noted before a failed intent is canceled
	Token         int64  // of the latest lease
	DueAt         time.Time
	Tries         int
	Problem       string // why the last try did not settle it
	CreatedAt     time.Time

	leaseEnd time.Time // by this process's clock; not later than the database's due_at
}

// attemptRef names one attempt of one merchant.
type attemptRef struct {
	merchantID int64
	id         uuid.UUID
}

func (r attemptRef) merchant() int64 { return r.merchantID }

func (r attemptRef) bytes() [16]byte { return r.id }

func scanRef(row pgx.CollectableRow) (r attemptRef, err error) {
	err = row.Scan(&r.merchantID, &r.id)
	return r, err
}

func (a *Attempt) ref() attemptRef { return attemptRef{a.MerchantID, a.ID} }

// age is how long ago the attempt began when it was leased, by the database's clock.
func (a *Attempt) age(leaseTime time.Duration) time.Duration {
	return a.DueAt.Add(-leaseTime).Sub(a.CreatedAt)
}

// attemptColumns reads an attempt a of a payment p; paymentOfAttempt looks up that payment.
// In such a statement, $1 is the merchant of all attempts, or NULL. The intent of a
// capture, cancellation or refund is that of the payment's charge.
const attemptColumns = `a.merchant_id, a.id, a.operation, a.payment_id, a.refund_id, a.amount,
	p.currency, p.payment_method, a.state,
	coalesce(a.intent_id, (
		SELECT c.intent_id FROM processor_attempts c
		WHERE c.merchant_id = coalesce($1, a.merchant_id) AND c.payment_id = a.payment_id
			AND c.operation IN ('charge', 'authorize')), ''),
	a.generation, coalesce(a.decline_code, ''), a.token, a.due_at, a.due_at - clock_timestamp(),
	a.tries, a.problem, a.created_at`

// leasedColumns is what an UPDATE returns for attemptColumns.
const leasedColumns = `merchant_id, id, operation, payment_id, refund_id, amount, state,
	intent_id, generation, decline_code, token, due_at, tries, problem, created_at`

const paymentOfAttempt = `
	CROSS JOIN LATERAL (
		SELECT p.currency, p.payment_method FROM payments p
		WHERE p.merchant_id = coalesce($1, a.merchant_id) AND p.id = a.payment_id
		OFFSET 0) AS p`

// scanAttempt reads a row of attemptColumns. asked is a time before the query, from
// which the rest of the lease counts.
func scanAttempt(row pgx.CollectableRow, asked time.Time) (*Attempt, error) {
	var a Attempt
	var refundID *uuid.UUID
	var left time.Duration
	err := row.Scan(&a.MerchantID, &a.ID, &a.Operation, &a.PaymentID, &refundID, &a.Amount.Minor,
		&a.Amount.Currency, &a.PaymentMethod, &a.State, &a.IntentID, &a.Generation, &a.DeclineCode,
		&a.Token, &a.DueAt, &left, &a.Tries, &a.Problem, &a.CreatedAt)
	a.leaseEnd = asked.Add(left)
	if refundID != nil {
		a.RefundID = *refundID
	}
	return &a, err
}

// ErrNoAttempt means that there is no such attempt.
var ErrNoAttempt = errors.New("there is no such attempt")

// find reads an attempt as it is now, or returns ErrNoAttempt.
func (s *Service) find(ctx context.Context, ref attemptRef) (*Attempt, error) {
	return only(collectAttempts(ctx, s.pool, `
		SELECT `+attemptColumns+`
		FROM processor_attempts a`+paymentOfAttempt+`
		WHERE a.merchant_id = $1 AND a.id = $2`, ref.merchantID, ref.id))
}

// only returns the one attempt that was read, or ErrNoAttempt.
func only(attempts []*Attempt, err error) (*Attempt, error) {
	switch {
	case err != nil:
		return nil, err
	case len(attempts) == 0:
		return nil, ErrNoAttempt
	}
	return attempts[0], nil
}

// firstToken is the token of a new attempt. While an attempt has it, only the instance
// that began the attempt can have asked the processor.
const firstToken = 1

// leaseFirst gives this instance a whole lease of an attempt that its request has begun.
// It returns none if another instance has leased the attempt since. The token stays,
// because the first one belongs to this instance.
func (s *Service) leaseFirst(ctx context.Context, ref attemptRef) ([]*Attempt, error) {
	return collectAttempts(ctx, s.pool, `
		WITH leased AS (
			UPDATE processor_attempts
			SET due_at = statement_timestamp() + $3
			WHERE merchant_id = $1 AND id = $2 AND state = 'open' AND token = $4 AND tries = 0
			RETURNING `+leasedColumns+`)
		SELECT `+attemptColumns+`
		FROM leased a`+paymentOfAttempt, ref.merchantID, ref.id, s.leaseTime, firstToken)
}

// merchantsDue finds the merchants with due attempts, except the excluded ones.
const merchantsDue = `
	SELECT merchant_id FROM processor_attempts
	WHERE state = 'open' AND due_at <= statement_timestamp() AND merchant_id <> ALL ($1)
	GROUP BY merchant_id
	ORDER BY min(due_at)`

// lease leases up to limit due attempts, the oldest first. It skips the attempts that
// another instance leases at this moment, and all attempts of the excluded merchants.
// With an error, it may still have leased some.
func (s *Service) lease(
	ctx context.Context, limit int, excluded []int64,
) (leased []*Attempt, err error) {
	err = postgres.EachMerchant(ctx, s.pool, s.sharded, merchantsDue, []any{excluded},
		func(merchantID *int64) error {
			if len(leased) == limit {
				return nil
			}
			more, err := s.leaseOf(ctx, merchantID, limit-len(leased), excluded)
			leased = append(leased, more...)
			return err
		})
	return leased, err
}

func (s *Service) leaseOf(
	ctx context.Context, merchantID *int64, limit int, excluded []int64,
) ([]*Attempt, error) {
	return collectAttempts(ctx, s.pool, `
		WITH leased AS (
			UPDATE processor_attempts a
			SET token = a.token + 1, due_at = statement_timestamp() + $3
			FROM (
				SELECT d.ctid AS row
				FROM processor_attempts d
				WHERE ($1::bigint IS NULL OR d.merchant_id = $1) AND d.state = 'open'
					AND d.due_at <= statement_timestamp() AND d.merchant_id <> ALL ($4)
				ORDER BY d.due_at
				LIMIT $2
				FOR NO KEY UPDATE SKIP LOCKED) AS due
			WHERE a.merchant_id = coalesce($1, a.merchant_id) AND a.ctid = due.row
			RETURNING `+leasedColumns+`)
		SELECT `+attemptColumns+`
		FROM leased a`+paymentOfAttempt, merchantID, limit, s.leaseTime, excluded)
}

func collectAttempts(
	ctx context.Context, db postgres.Querier, sql string, args ...any,
) ([]*Attempt, error) {
	asked := time.Now()
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading attempts: %w", err)
	}
	attempts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Attempt, error) {
		return scanAttempt(row, asked)
	})
	if err != nil {
		return nil, fmt.Errorf("reading attempts: %w", err)
	}
	return attempts, nil
}

// The writes below name the lease's token. They return payments.ErrFenced if another
// instance has leased the attempt since, or if it is no longer open.

// commit writes what is known of the intent and its key, and renews the lease. It comes
// before each call that depends on what it writes.
func (s *Service) commit(ctx context.Context, a *Attempt) error {
	began := time.Now()
	err := s.write(ctx, a, `
		UPDATE processor_attempts
		SET due_at = statement_timestamp() + $4, generation = $5, decline_code = nullif($6, ''),
			intent_id = CASE
				WHEN operation IN ('charge', 'authorize') THEN coalesce(nullif($7, ''), intent_id)
			END
		WHERE merchant_id = $1 AND id = $2 AND token = $3 AND state = 'open'`,
		s.leaseTime, a.Generation, a.DeclineCode, a.IntentID)
	if err == nil {
		a.leaseEnd = began.Add(s.leaseTime)
	}
	return err
}

// release ends the lease. The attempt is due again after the delay.
func (s *Service) release(
	ctx context.Context, a *Attempt, delay time.Duration, problem string,
) error {
	return s.write(ctx, a, `
		UPDATE processor_attempts
		SET due_at = statement_timestamp() + $4, tries = tries + 1, problem = $5
		WHERE merchant_id = $1 AND id = $2 AND token = $3 AND state = 'open'`,
		delay, short(problem))
}

// review leaves the attempt to a person.
func (s *Service) review(ctx context.Context, a *Attempt, problem string) error {
	return s.write(ctx, a, `
		UPDATE processor_attempts
		SET state = 'review', tries = tries + 1, problem = $4
		WHERE merchant_id = $1 AND id = $2 AND token = $3 AND state = 'open'`, short(problem))
}

func (s *Service) write(ctx context.Context, a *Attempt, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	tag, err := s.pool.Exec(ctx, sql, append([]any{a.MerchantID, a.ID, a.Token}, args...)...)
	switch {
	case err != nil:
		return fmt.Errorf("writing an attempt: %w", err)
	case tag.RowsAffected() == 0:
		return payments.ErrFenced
	}
	return nil
}

// short cuts a text to the length of the column problem.
func short(text string) string {
	const lengthMax = 1000
	if runes := []rune(text); len(runes) > lengthMax {
		return string(runes[:lengthMax])
	}
	return text
}

// attributes name the attempt in a log line.
func (a *Attempt) attributes(more ...any) []any {
	return append([]any{
		"merchant_id", a.MerchantID, "attempt_id", a.ID, "operation", a.Operation,
		"payment_id", payments.FormatID(a.PaymentID), "intent_id", a.IntentID, "tries", a.Tries,
	}, more...)
}
