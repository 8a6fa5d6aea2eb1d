// Command onefile charges exactly once, in one file: chi, pgx, and one Postgres
// transaction per request.
//
// The pattern is the five steps of postPayment. One transaction claims the key and does
// everything that a retry must not do twice, so either all of it is durable or nothing.
// After a crash at any line there is nothing to clean up, and no state "in progress".
// README.md lists what is left out: authentication first.
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
	id text PRIMARY KEY,
	currency text NOT NULL CONSTRAINT accounts_currency CHECK (currency ~ '^[A-Z]{3}$'),
	balance bigint NOT NULL DEFAULT 0,
	overdraft_limit bigint, -- NULL: no limit
	CONSTRAINT accounts_floor CHECK (balance >= -overdraft_limit) -- also if Go has a bug
);
CREATE TABLE IF NOT EXISTS onefile.payments ( -- including declined ones
	id text PRIMARY KEY,
	status text NOT NULL CONSTRAINT payments_status CHECK (status IN ('succeeded', 'declined')),
	amount bigint NOT NULL -- up to 2^53 - 1, which every JSON reader keeps exact
		CONSTRAINT payments_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
	currency text NOT NULL,
	source_account text NOT NULL,
	destination_account text NOT NULL,
	description text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp() -- not now(): after the locks
);
CREATE TABLE IF NOT EXISTS onefile.entries ( -- two rows of a succeeded payment, with sum zero
	payment_id text, account_id text, amount bigint NOT NULL,
	PRIMARY KEY (payment_id, account_id)
);
CREATE TABLE IF NOT EXISTS onefile.idempotency_keys ( -- never deleted: a lost key charges again
	key text COLLATE "C" PRIMARY KEY, -- "once" depends on this, and not on a locale
	fingerprint bytea NOT NULL,
	-- The answer. Its columns are NULL only inside the transaction that claims the key.
	payment_id text,
	status int CONSTRAINT idempotency_keys_status CHECK (status IN (201, 402)),
	answer bytea -- not jsonb, which does not keep the bytes
);`

var logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))

type service struct{ db *pgxpool.Pool }

// charge is the body of POST /payments. A new field needs omitzero, or every fingerprint
// changes.
type charge struct {
	Amount      int64  `json:"amount"`
	Currency    string `json:"currency"`
	Source      string `json:"source_account"`
	Destination string `json:"destination_account"`
	Description string `json:"description"`
}

// account is an account. Its fields with a name in JSON are the body of PUT.
type account struct {
	ID             string `json:"-"`
	Currency       string `json:"currency"`
	Balance        int64  `json:"-"`
	OverdraftLimit *int64 `json:"overdraft_limit"` // nil: no limit
}

// postPayment charges once per key, on any number of instances. After any error the same
// key is safe.
func (s service) postPayment(w http.ResponseWriter, r *http.Request) (a answer, err error) {
	var c charge
	key, err := keyOf(r.Header["Idempotency-Key"])
	if err = errors.Join(err, decode(w, r, &c)); err != nil {
		return a, err
	}
	// The request is decoded and encoded again, so its notation does not matter.
	fingerprint := sha256.Sum256(must(json.Marshal(c)))
	// A client that disconnects must not cancel the transaction, least of all its COMMIT.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	// READ COMMITTED: after step 1 has waited for a rival transaction, the next statement
	// must see its rows.
	tx, err := s.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return a, err
	}
	defer tx.Rollback(ctx) // releases the key and the locks; does nothing after COMMIT

	// 1. Claim the key, before anything else. If two requests come at the same moment, on
	// any instances, the second waits in this INSERT until the first has ended. Then the
	// second finds the key taken. If the first rolled back, the second takes the key.
	claim, err := tx.Exec(ctx, `
		INSERT INTO onefile.idempotency_keys (key, fingerprint) VALUES ($1, $2)
		ON CONFLICT (key) DO NOTHING`, key, fingerprint[:])
	if err != nil {
		return a, err
	}
	if claim.RowsAffected() == 0 {
		return replay(ctx, tx, key, fingerprint[:])
	}
	// 2. Lock both accounts, in the order of their ids, so that there is no deadlock.
	rows, _ := tx.Query(ctx, `
		SELECT id, currency, balance, overdraft_limit FROM onefile.accounts
		WHERE id IN ($1, $2) ORDER BY id FOR UPDATE`, c.Source, c.Destination)
	accounts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[account]) // or Query's error
	if err != nil {
		return a, err
	}
	// 3. Decide. A refusal rolls back, and its key is free for a corrected request. A
	// decline is stored: its caller may pay elsewhere, so a retry must not succeed later.
	status, err := c.decide(accounts)
	if err != nil {
		return a, err
	}
	// 4. Write the payment, the entries, and the bytes of the answer beside the key.
	if a, err = write(ctx, tx, key, c, status); err != nil {
		return a, err
	}
	// 5. COMMIT, and only then answer. After an error the outcome is unknown. A retry
	// with the same key, on any instance, finds out.
	return a, tx.Commit(ctx)
}

// replay answers for a key that is taken. The claim and the answer were committed
// together, so the answer exists.
func replay(ctx context.Context, tx pgx.Tx, key string, fingerprint []byte) (answer, error) {
	var same bool
	a := answer{replayed: true}
	err := tx.QueryRow(ctx, `
		SELECT fingerprint = $2, payment_id, status, answer FROM onefile.idempotency_keys
		WHERE key = $1`, key, fingerprint).Scan(&same, &a.paymentID, &a.status, &a.body)
	if err == nil && !same {
		err = problem(422, "idempotency_key_reused", "never", a.paymentID)
	}
	return a, err
}

// decide decides a charge by its locked accounts. It is a pure function. An error is a
// refusal.
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

// write writes the rows of a decision, including the answer, which it returns.
func write(ctx context.Context, tx pgx.Tx, key string, c charge, status string) (answer, error) {
	a := answer{status: 201, paymentID: "pay_" + rand.Text()}
	err := tx.QueryRow(ctx, `
		INSERT INTO onefile.payments AS p
			(id, status, amount, currency, source_account, destination_account, description)
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
		rest.Queue(`
			INSERT INTO onefile.entries (payment_id, account_id, amount)
			VALUES ($1, $2, $3)`, a.paymentID, id, amount)
		rest.Queue(`UPDATE onefile.accounts SET balance = balance + $2 WHERE id = $1`, id, amount)
	}
	rest.Queue(`
		UPDATE onefile.idempotency_keys SET payment_id = $2, status = $3, answer = $4
		WHERE key = $1`, key, a.paymentID, a.status, a.body)
	return a, tx.SendBatch(ctx, rest).Close()
}

// putAccount needs no key: a repetition changes nothing more.
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

// row answers with the one row of a query, or with none if there is no row.
func (s service) row(r *http.Request, none answer, query string, args ...any) (answer, error) {
	a := answer{status: 200}
	err := s.db.QueryRow(r.Context(), query, args...).Scan(&a.body)
	if errors.Is(err, pgx.ErrNoRows) {
		err = none
	}
	return a, err
}

// keyForm is the form of an Idempotency-Key: printable ASCII, plain or as a string of RFC
// 9651. abc and "abc" are the same key. A plain key has no comma: proxies join two headers
// with one.
var keyForm = regexp.MustCompile(
	`^(?:"((?:[ !#-\[\]-~]|\\["\\])+)"|([!#-+\--~](?:[ -+\--~]*[!-+\--~])?))$`)

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

// decode refuses unknown members: ignoring a member would promise what it asks for.
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

// answer is the answer to a request. As an error it is a refusal, which is not committed.
type answer struct {
	status    int
	body      []byte
	paymentID string
	replayed  bool
}

func (a answer) Error() string { return string(a.body) }

// problem is a problem document (RFC 9457). retry is advice about the key. same_key: send
// it again. new_key: the key has a stored decline. never: the key belongs to another
// request.
func problem(status int, code, retry, paymentID string) answer {
	members := map[string]any{"status": status, "code": code, "retry": retry}
	if paymentID != "" {
		members["payment_id"] = paymentID
	}
	return answer{status: status, body: must(json.Marshal(members)), paymentID: paymentID}
}

func refuse(status int, code string) answer { return problem(status, code, "same_key", "") }

// handler returns an answer or an error. After an error of the database the caller needs
// to know one thing: the outcome is unknown, and the same key finds out.
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
	// the schema forbids a value, or cannot store it
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
	_, _ = w.Write(a.body) // an error means that the client has gone
}

// main serves until it is killed, which is safe at any moment.
func main() {
	ctx, config := context.Background(), must(pgxpool.ParseConfig(os.Getenv("DATABASE_URL")))
	parameters := config.ConnConfig.RuntimeParams
	parameters["synchronous_commit"] = "on"                  // committed data is durable
	parameters["idle_in_transaction_session_timeout"] = "5s" // a stopped process loses its locks
	parameters["timezone"] = "UTC"                           // for times in answers
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
	server := &http.Server{
		Handler: router, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
	}
	panic(server.Serve(listener))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
