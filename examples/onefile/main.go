// Command onefile charges exactly once, on one page: chi, pgx, and one plain Postgres
// transaction per request.
//
// The pattern is the five steps of postPayment. What a retry could do twice is in one
// transaction with the key by which a retry is known, so there is no moment at which
// one is durable and the other is not. A crash at any line leaves all of it or none:
// nothing to clean up, and no "in progress" to wait for. README.md says what is left
// out, authentication first.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const schema = `
SELECT pg_advisory_xact_lock(1017); -- several instances may start at once
CREATE SCHEMA IF NOT EXISTS onefile;
CREATE TABLE IF NOT EXISTS onefile.accounts (
	id text PRIMARY KEY, currency text NOT NULL CONSTRAINT accounts_currency CHECK (currency ~ '^[A-Z]{3}$'),
	balance bigint NOT NULL DEFAULT 0, overdraft_limit bigint, -- NULL: no limit
	CONSTRAINT accounts_floor CHECK (balance >= -overdraft_limit) -- no bug in Go takes an account below it
);
CREATE TABLE IF NOT EXISTS onefile.payments ( -- all that was decided, the declined ones too
	id text PRIMARY KEY, status text NOT NULL CONSTRAINT payments_status CHECK (status IN ('succeeded', 'declined')),
	amount bigint NOT NULL CONSTRAINT payments_amount CHECK (amount BETWEEN 1 AND 9007199254740991), -- exact in any JSON
	currency text NOT NULL, source_account text NOT NULL, destination_account text NOT NULL, description text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp() -- not now(): the time behind the locks
);
CREATE TABLE IF NOT EXISTS onefile.entries ( -- double entry: two rows for a succeeded payment, which sum to zero
	payment_id text, account_id text, amount bigint NOT NULL, PRIMARY KEY (payment_id, account_id)
);
CREATE TABLE IF NOT EXISTS onefile.idempotency_keys ( -- rows stay for ever: a key that is forgotten charges again
	key text COLLATE "C" PRIMARY KEY, -- "once" rests on this, and so not on a locale's idea of equality
	fingerprint bytea NOT NULL, -- what follows is NULL only inside the transaction that claims
	payment_id text, status int CONSTRAINT idempotency_keys_status CHECK (status IN (201, 402)), -- what no retry can change
	answer bytea -- not jsonb, which does not keep the bytes
);`

var logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))

type service struct{ db *pgxpool.Pool }

// charge is the body of POST /payments. A field that is added later takes omitzero, or
// every fingerprint changes.
type charge struct {
	Amount      int64  `json:"amount"`
	Currency    string `json:"currency"`
	Source      string `json:"source_account"`
	Destination string `json:"destination_account"`
	Description string `json:"description"`
}

// account is what a charge is decided by. What has a name in JSON is the body of PUT.
type account struct {
	ID             string `json:"-"`
	Currency       string `json:"currency"`
	Balance        int64  `json:"-"`
	OverdraftLimit *int64 `json:"overdraft_limit"` // nil: no limit
}

// postPayment charges once per key, on any number of instances. After an error the same
// key is safe, whatever the error.
func (s service) postPayment(w http.ResponseWriter, r *http.Request) (a answer, err error) {
	var c charge
	key, err := keyOf(r.Header["Idempotency-Key"])
	if err = errors.Join(err, decode(w, r, &c)); err != nil {
		return a, err
	}
	// Of what was asked and not of how it was written: the request was decoded, and is
	// encoded anew.
	fingerprint := sha256.Sum256(must(json.Marshal(c)))
	// A context of its own: a client that hangs up decides nothing, least of all
	// between COMMIT and its acknowledgement.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	// READ COMMITTED, whatever the database's default: after step 1 has waited, the
	// next statement must see for what.
	tx, err := s.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return a, err
	}
	defer tx.Rollback(ctx) // gives back the key and the locks; does nothing after COMMIT

	// 1. Claim the key, before anything else. Of two requests at one moment, also on two instances, the second waits in
	// this INSERT until the first has ended. Then it finds the key taken; or, if the
	// first rolled back, it is the first.
	claim, err := tx.Exec(ctx, `INSERT INTO onefile.idempotency_keys (key, fingerprint) VALUES ($1, $2)
		ON CONFLICT (key) DO NOTHING`, key, fingerprint[:])
	if err != nil {
		return a, err
	}
	if claim.RowsAffected() == 0 {
		return replay(ctx, tx, key, fingerprint[:])
	}
	// 2. Lock both accounts, everybody in the same order: charges that cross queue up, and never wait in a circle.
	rows, _ := tx.Query(ctx, `SELECT id, currency, balance, overdraft_limit FROM onefile.accounts
		WHERE id IN ($1, $2) ORDER BY id FOR UPDATE`, c.Source, c.Destination)
	// returns Query's error too
	accounts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account])
	if err != nil {
		return a, err
	}
	// 3. Decide. What is refused rolls back: its key is free again for when the cause is gone. What is declined is kept: who
	// was told no may have paid elsewhere, and a retry must not make it a yes.
	status, err := c.decide(accounts)
	if err != nil {
		return a, err
	}
	// 4. Write the payment, the money, and beside the key the answer, byte for byte.
	if a, err = write(ctx, tx, key, c, status); err != nil {
		return a, err
	}
	// 5. COMMIT, and only then answer. If it fails, nobody here knows whether it took effect, and it would be wrong to guess:
	// the same key again, on this instance or another, finds out.
	return a, tx.Commit(ctx)
}

// replay answers for a key that is taken. Its claim and its answer were committed
// together, so the answer is there.
func replay(ctx context.Context, tx pgx.Tx, key string, fingerprint []byte) (answer, error) {
	var same bool
	a := answer{replayed: true}
	err := tx.QueryRow(ctx,
		`SELECT fingerprint = $2, payment_id, status, answer FROM onefile.idempotency_keys WHERE key = $1`,
		key, fingerprint).Scan(&same, &a.paymentID, &a.status, &a.body)
	if err == nil && !same {
		err = problem(422, "idempotency_key_reused", "never", a.paymentID)
	}
	return a, err
}

// decide says what becomes of a charge, by its accounts as they stand, locked. It is
// pure. An error is a refusal.
func (c charge) decide(accounts []account) (status string, err error) {
	switch {
	case c.Amount < 1 || c.Amount > 1<<53-1 || c.Source == c.Destination:
		return "", refuse(422, "unprocessable")
	case len(accounts) != 2:
		return "", refuse(422, "account_not_found")
	case accounts[0].Currency != c.Currency || accounts[1].Currency != c.Currency:
		return "", refuse(422, "currency_mismatch")
	}
	for _, a := range accounts {
		if a.ID == c.Source && a.OverdraftLimit != nil && a.Balance-c.Amount < -*a.OverdraftLimit {
			return "declined", nil
		}
	}
	return "succeeded", nil
}

// write makes the rows of a decision, and returns the answer, which is in one of them.
func write(ctx context.Context, tx pgx.Tx, key string, c charge, status string) (answer, error) {
	a := answer{status: 201, paymentID: "pay_" + rand.Text()}
	err := tx.QueryRow(ctx, `
		INSERT INTO onefile.payments AS p (id, status, amount, currency, source_account, destination_account, description)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING row_to_json(p)`,
		a.paymentID, status, c.Amount, c.Currency, c.Source, c.Destination, c.Description).
		Scan(&a.body)
	if err != nil {
		return a, err
	}
	entries := map[string]int64{c.Source: -c.Amount, c.Destination: c.Amount}
	if status == "declined" {
		a, entries = problem(402, "insufficient_funds", "new_key", a.paymentID), nil
	}
	rest := &pgx.Batch{} // one round trip
	for id, amount := range entries {
		rest.Queue(
			`INSERT INTO onefile.entries (payment_id, account_id, amount) VALUES ($1, $2, $3)`,
			a.paymentID, id, amount,
		)
		rest.Queue(`UPDATE onefile.accounts SET balance = balance + $2 WHERE id = $1`, id, amount)
	}
	rest.Queue(
		`UPDATE onefile.idempotency_keys SET payment_id = $2, status = $3, answer = $4 WHERE key = $1`,
		key, a.paymentID, a.status, a.body)
	return a, tx.SendBatch(ctx, rest).Close()
}

// putAccount needs no key: done twice, it is done once.
func (s service) putAccount(w http.ResponseWriter, r *http.Request) (answer, error) {
	a := account{OverdraftLimit: new(int64)} // absent is 0, null is no limit
	if err := decode(w, r, &a); err != nil {
		return answer{}, err
	}
	return s.row(r, refuse(409, "account_currency_fixed"), `
		INSERT INTO onefile.accounts AS a (id, currency, overdraft_limit) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET overdraft_limit = $3 WHERE a.currency = $2
		RETURNING row_to_json(a)`, chi.URLParam(r, "id"), a.Currency, a.OverdraftLimit)
}

func (s service) get(query string) handler {
	return func(_ http.ResponseWriter, r *http.Request) (answer, error) {
		return s.row(r, refuse(404, "not_found"), query, chi.URLParam(r, "id"))
	}
}

// row answers with the one row of a query, or with what it means that there is none.
func (s service) row(r *http.Request, none answer, query string, args ...any) (answer, error) {
	a := answer{status: 200}
	err := s.db.QueryRow(r.Context(), query, args...).Scan(&a.body)
	if errors.Is(err, pgx.ErrNoRows) {
		err = none
	}
	return a, err
}

// keyForm is that of an Idempotency-Key: visible ASCII, bare or as a string of RFC
// 9651. abc and "abc" are one key.
var keyForm = regexp.MustCompile(`^(?:"((?:[ !#-\[\]-~]|\\["\\])+)"|([!#-~](?:[ -~]*[!-~])?))$`)

func keyOf(headers []string) (key string, err error) {
	if len(headers) == 0 {
		return "", refuse(400, "idempotency_key_missing")
	}
	if match := keyForm.FindStringSubmatch(headers[0]); match != nil && len(headers) == 1 {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(match[1]) + match[2]
	}
	if key == "" || len(key) > 255 {
		return "", refuse(400, "idempotency_key_invalid")
	}
	return key, nil
}

// decode refuses a member that it does not know: who ignores a member promises what it
// asks for.
func decode(w http.ResponseWriter, r *http.Request, value any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(value)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return refuse(413, "payload_too_large")
	}
	if _, end := decoder.Token(); err != nil || end != io.EOF {
		return refuse(400, "invalid_request")
	}
	return nil
}

// answer is what a request comes to. As an error it is a refusal, for which nothing is
// committed.
type answer struct {
	status    int
	body      []byte
	paymentID string
	replayed  bool
}

func (a answer) Error() string { return string(a.body) }

// problem is an answer that is no success (RFC 9457). retry is what a program should do
// about its key: same_key, it is free, or may turn out to be; new_key, it stands for
// this no; never, it stands for another payment.
func problem(status int, code, retry, paymentID string) answer {
	members := map[string]any{"status": status, "code": code, "retry": retry}
	if paymentID != "" {
		members["payment_id"] = paymentID
	}
	return answer{status: status, body: must(json.Marshal(members)), paymentID: paymentID}
}

func refuse(status int, code string) answer { return problem(status, code, "same_key", "") }

// handler comes to an answer, or to an error. Where that is the database's, and not for
// what was asked, a caller needs to know one thing only: the outcome is unknown, and
// the same key finds out.
type handler func(http.ResponseWriter, *http.Request) (answer, error)

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header["Idempotency-Key"] = r.Header["Idempotency-Key"]
	a, err := h(w, r)
	refusal, refused := errors.AsType[answer](err)
	sql, _ := errors.AsType[*pgconn.PgError](err)
	switch {
	case refused:
		a = refusal
	// what the schema forbids, or cannot hold
	case sql != nil && (sql.Code == "23514" || strings.HasPrefix(sql.Code, "22")):
		a = refuse(422, "unprocessable")
	case err != nil:
		logger.ErrorContext(r.Context(), "request failed", "error", err)
		a = refuse(503, "outcome_unknown")
		header.Set("Retry-After", "1")
	}
	switch {
	case a.status == 201:
		header.Set("Location", "/payments/"+a.paymentID)
	case a.status >= 400:
		header.Set("Content-Type", "application/problem+json")
	}
	if a.replayed {
		header.Set("Idempotent-Replayed", "true")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that has gone will ask again
}

// main serves until it is killed. That is safe at any moment, so there is no end to
// prepare.
func main() {
	ctx, config := context.Background(), must(pgxpool.ParseConfig(os.Getenv("DATABASE_URL")))
	// what is committed is kept
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	// a stopped instance gives its locks back
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "5s"
	config.ConnConfig.RuntimeParams["timezone"] = "UTC" // in answers
	s := service{db: must(pgxpool.NewWithConfig(ctx, config))}
	must(s.db.Exec(ctx, schema))
	router := chi.NewRouter()
	router.Method("POST", "/payments", handler(s.postPayment))
	router.Method("GET", `/payments/{id:\w+}`,
		s.get(`SELECT row_to_json(p) FROM onefile.payments p WHERE id = $1`))
	router.Method("PUT", "/accounts/{id:[A-Za-z0-9_.:-]+}", handler(s.putAccount))
	router.Method("GET", "/accounts/{id:[A-Za-z0-9_.:-]+}",
		s.get(`SELECT row_to_json(a) FROM onefile.accounts a WHERE id = $1`))
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("LISTEN_ADDR"), "127.0.0.1:8090")))
	logger.InfoContext(ctx, "serving", "address", listener.Addr().String())
	server := &http.Server{Handler: router, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second}
	panic(server.Serve(listener))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
