// Command onefile charges exactly once, on one page: chi, pgx, and one plain Postgres transaction per request.
//
// The pattern is the five steps of postPayment, and the functions from there to write. What a retry could do twice is in
// one transaction with the key by which a retry is known, so there is no moment at which one of them is durable and the
// other is not. A crash at any line leaves all of it or none: there is nothing to clean up, and no "in progress" to wait for.
//
// It serves one merchant and has no authentication. README.md says what the service adds, and what that costs.
package main

import (
	"bytes"
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
	id              text   PRIMARY KEY,
	currency        text   NOT NULL CONSTRAINT accounts_currency CHECK (currency ~ '^[A-Z]{3}$'),
	balance         bigint NOT NULL DEFAULT 0,
	overdraft_limit bigint CONSTRAINT accounts_limit CHECK (overdraft_limit BETWEEN 0 AND 9007199254740991), -- NULL: no limit
	CONSTRAINT accounts_floor CHECK (balance >= -overdraft_limit) -- no bug in Go takes an account below it
);
CREATE TABLE IF NOT EXISTS onefile.payments ( -- all that was decided, the declined ones too
	id                  text   PRIMARY KEY,
	status              text   NOT NULL CONSTRAINT payments_status CHECK (status IN ('succeeded', 'declined')),
	amount              bigint NOT NULL CONSTRAINT payments_amount CHECK (amount BETWEEN 1 AND 9007199254740991),
	currency            text   NOT NULL,
	source_account      text   NOT NULL REFERENCES onefile.accounts,
	destination_account text   NOT NULL REFERENCES onefile.accounts,
	description         text   NOT NULL,
	created_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS onefile.entries ( -- double entry: two rows for a succeeded payment, which sum to zero
	payment_id text   REFERENCES onefile.payments,
	account_id text   REFERENCES onefile.accounts,
	amount     bigint NOT NULL,
	PRIMARY KEY (payment_id, account_id)
);
CREATE TABLE IF NOT EXISTS onefile.idempotency_keys ( -- rows stay for ever: a key that is forgotten charges again
	key         text COLLATE "C" PRIMARY KEY, -- "once" rests on this, and so not on a locale's idea of equality
	fingerprint bytea NOT NULL,
	payment_id  text REFERENCES onefile.payments, -- this and the answer are NULL only inside the transaction that claims
	status      int CONSTRAINT idempotency_keys_status CHECK (status IN (201, 402)), -- nothing that a retry could change
	answer      bytea -- not jsonb, which does not keep the bytes
);`

type service struct {
	db     *pgxpool.Pool
	logger *slog.Logger
}

// charge is the body of POST /payments. A field that is added later takes omitzero, or every fingerprint changes.
type charge struct {
	Amount      int64  `json:"amount"`
	Currency    string `json:"currency"`
	Source      string `json:"source_account"`
	Destination string `json:"destination_account"`
	Description string `json:"description"`
}

// postPayment charges once per key, on any number of instances. An error means that nothing was committed.
func (s *service) postPayment(w http.ResponseWriter, r *http.Request) (answer, error) {
	var c charge
	key, problem := keyOf(r.Header["Idempotency-Key"])
	if problem = cmp.Or(problem, decode(w, r, &c)); problem != "" {
		return refuse(problem, ""), nil
	}
	// A context of its own: a client that hangs up decides nothing, least of all between COMMIT and its acknowledgement.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	// READ COMMITTED, whatever the database's default: after step 1 has waited, the next statement must see for what.
	tx, err := s.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return answer{}, err
	}
	defer tx.Rollback(ctx) // gives back the key and the locks; does nothing after COMMIT

	// 1. Claim the key, before anything else. Of two requests at one moment, also on two instances, the second waits in
	// this INSERT until the first has ended. Then it finds the key taken; or, if the first rolled back, it is the first.
	claim, err := tx.Exec(ctx, `
		INSERT INTO onefile.idempotency_keys (key, fingerprint) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`, key, c.fingerprint())
	if err != nil {
		return answer{}, err
	}
	if claim.RowsAffected() == 0 {
		return replay(ctx, tx, key, c)
	}
	// 2. Lock both accounts, everybody in the same order: charges that cross queue up, and never wait in a circle.
	locked, err := tx.Query(ctx, `
		SELECT id, currency, balance, overdraft_limit, balance + overdraft_limit
		FROM onefile.accounts WHERE id IN ($1, $2) ORDER BY id FOR NO KEY UPDATE`, c.Source, c.Destination)
	if err != nil {
		return answer{}, err
	}
	accounts, err := pgx.CollectRows(locked, pgx.RowToStructByPos[account])
	if err != nil {
		return answer{}, err
	}
	// 3. Decide. What is refused rolls back: its key is free again for when the cause is gone. What is declined is kept: who
	// was told no may have paid elsewhere, and a retry must not make it a yes.
	problem = c.decide(accounts)
	if problem != "" && problem != declined {
		return refuse(problem, ""), nil
	}
	// 4. Write the payment, the money, and beside the key the answer, byte for byte.
	a, err := write(ctx, tx, key, c, problem)
	if err != nil {
		return answer{}, err
	}
	// 5. COMMIT, and only then answer. If it fails, nobody here knows whether it took effect, and it would be wrong to guess:
	// the same key again, on this instance or another, finds out.
	if err := tx.Commit(ctx); err != nil {
		s.logger.ErrorContext(ctx, "the outcome of a COMMIT is unknown", "error", err)
		return refuse("outcome_unknown", ""), nil
	}
	return a, nil
}

// fingerprint is of what was asked and not of how it was written: the request was decoded, and is encoded anew.
func (c charge) fingerprint() []byte {
	sum := sha256.Sum256(encode(c))
	return sum[:]
}

// replay answers for a key that is taken. Its claim and its answer were committed together, so the answer is there.
func replay(ctx context.Context, tx pgx.Tx, key string, c charge) (answer, error) {
	var fingerprint []byte
	a := answer{replayed: true}
	err := tx.QueryRow(ctx, `SELECT fingerprint, payment_id, status, answer FROM onefile.idempotency_keys WHERE key = $1`, key).
		Scan(&fingerprint, &a.paymentID, &a.status, &a.body)
	if err == nil && !bytes.Equal(fingerprint, c.fingerprint()) {
		return refuse("idempotency_key_reused", a.paymentID), nil
	}
	return a, err
}

const declined = "insufficient_funds"

// decide says what forbids a charge, if anything does, by its accounts as they stand, locked. It is pure.
func (c charge) decide(accounts []account) (problem string) {
	switch {
	case c.Amount < 1 || c.Amount > 1<<53-1 || c.Source == c.Destination:
		return "unprocessable"
	case len(accounts) != 2:
		return "account_not_found"
	case accounts[0].Currency != c.Currency || accounts[1].Currency != c.Currency:
		return "currency_mismatch"
	}
	for _, a := range accounts {
		if a.ID == c.Source && a.Available != nil && *a.Available < c.Amount {
			return declined
		}
	}
	return ""
}

// write makes the rows of a decision, and returns the answer, which is one of them.
func write(ctx context.Context, tx pgx.Tx, key string, c charge, problem string) (answer, error) {
	p := payment{ID: "pay_" + rand.Text(), Status: "succeeded", charge: c}
	entries := map[string]int64{c.Source: -c.Amount, c.Destination: c.Amount}
	if problem == declined {
		p.Status, entries = "declined", nil
	}
	// created_at is the database's clock, read behind the locks: along an account, time never goes back.
	err := tx.QueryRow(ctx, `
		INSERT INTO onefile.payments (id, status, amount, currency, source_account, destination_account, description)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING created_at AT TIME ZONE 'UTC'`,
		p.ID, p.Status, c.Amount, c.Currency, c.Source, c.Destination, c.Description).Scan(&p.CreatedAt)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: http.StatusCreated, body: encode(p), paymentID: p.ID}
	if problem == declined {
		a = refuse(declined, p.ID)
	}
	rest := &pgx.Batch{} // one round trip
	for id, amount := range entries {
		rest.Queue(`INSERT INTO onefile.entries (payment_id, account_id, amount) VALUES ($1, $2, $3)`, p.ID, id, amount)
		rest.Queue(`UPDATE onefile.accounts SET balance = balance + $2 WHERE id = $1`, id, amount)
	}
	rest.Queue(`UPDATE onefile.idempotency_keys SET payment_id = $2, status = $3, answer = $4 WHERE key = $1`, key, p.ID, a.status, a.body)
	return a, tx.SendBatch(ctx, rest).Close()
}

// What follows is plumbing: reading rows, reading requests, writing answers.

type payment struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	charge
	CreatedAt time.Time `json:"created_at"`
}

func (s *service) getPayment(_ http.ResponseWriter, r *http.Request) (answer, error) {
	rows, err := s.db.Query(r.Context(), `
		SELECT id, status, amount, currency, source_account, destination_account, description, created_at AT TIME ZONE 'UTC'
		FROM onefile.payments WHERE id = $1`, chi.URLParam(r, "id"))
	return found[payment](rows, err, "not_found")
}

type account struct {
	ID             string `json:"id"`
	Currency       string `json:"currency"`
	Balance        int64  `json:"balance"`
	OverdraftLimit *int64 `json:"overdraft_limit"` // nil: no limit
	Available      *int64 `json:"available"`       // nil: no limit
}

func (s *service) getAccount(_ http.ResponseWriter, r *http.Request) (answer, error) {
	rows, err := s.db.Query(r.Context(), `
		SELECT id, currency, balance, overdraft_limit, balance + overdraft_limit
		FROM onefile.accounts WHERE id = $1`, chi.URLParam(r, "id"))
	return found[account](rows, err, "not_found")
}

// putAccount needs no key: done twice, it is done once.
func (s *service) putAccount(w http.ResponseWriter, r *http.Request) (answer, error) {
	terms := struct {
		Currency       string `json:"currency"`
		OverdraftLimit *int64 `json:"overdraft_limit"`
	}{OverdraftLimit: new(int64)} // absent is 0, null is no limit
	if problem := decode(w, r, &terms); problem != "" {
		return refuse(problem, ""), nil
	}
	rows, err := s.db.Query(r.Context(), `
		INSERT INTO onefile.accounts AS a (id, currency, overdraft_limit) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET overdraft_limit = $3 WHERE a.currency = $2
		RETURNING id, currency, balance, overdraft_limit, balance + overdraft_limit`,
		chi.URLParam(r, "id"), terms.Currency, terms.OverdraftLimit)
	a, err := found[account](rows, err, "account_currency_fixed")
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23514" { // a CHECK of the schema
		return refuse("unprocessable", ""), nil
	}
	return a, err
}

// found answers with the one row that there is, or with the problem that there is none.
func found[T any](rows pgx.Rows, err error, none string) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return refuse(none, ""), nil
	}
	return answer{status: http.StatusOK, body: encode(row)}, err
}

// keyForm is that of an Idempotency-Key: visible ASCII, bare or as a string of RFC 9651. abc and "abc" are one key.
var keyForm = regexp.MustCompile(`^[ \t]*(?:"((?:[ !#-\[\]-~]|\\["\\])+)"|([!#-~](?:[ -~]*[!-~])?))[ \t]*$`)

func keyOf(headers []string) (key, problem string) {
	if len(headers) == 0 {
		return "", "idempotency_key_missing"
	}
	if match := keyForm.FindStringSubmatch(headers[0]); match != nil && len(headers) == 1 {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(match[1]) + match[2]
	}
	if key == "" || len(key) > 255 {
		return "", "idempotency_key_invalid"
	}
	return key, ""
}

// decode refuses a member that it does not know: who ignores a member promises what it asks for.
func decode(w http.ResponseWriter, r *http.Request, value any) (problem string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return "payload_too_large"
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err = errors.Join(err, decoder.Decode(value))
	if _, end := decoder.Token(); err != nil || end != io.EOF || bytes.Contains(body, []byte(`\u0000`)) { // Postgres has no NUL
		return "invalid_request"
	}
	return ""
}

func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // what is encoded here always can be
	}
	return text
}

// answer is what a handler came to, and what a key keeps.
type answer struct {
	status    int
	body      []byte
	paymentID string
	replayed  bool
}

// problems are why a request is refused, with what a program should do about its key: same_key, it is free or may turn out
// to be, so send it again, later or corrected; new_key, it stands for this no; never, it stands for another payment.
var problems = map[string]struct {
	status int
	retry  string
}{
	"idempotency_key_missing": {400, "same_key"},
	"idempotency_key_invalid": {400, "same_key"},
	"idempotency_key_reused":  {422, "never"},
	"invalid_request":         {400, "same_key"},
	"payload_too_large":       {413, "same_key"},
	"unprocessable":           {422, "same_key"},
	"account_not_found":       {422, "same_key"},
	"account_currency_fixed":  {409, "same_key"},
	"currency_mismatch":       {422, "same_key"},
	"not_found":               {404, "same_key"},
	"outcome_unknown":         {503, "same_key"},
	"unavailable":             {503, "same_key"},
	declined:                  {402, "new_key"},
}

// refuse is the answer that a problem is (RFC 9457).
func refuse(code, paymentID string) answer {
	p := problems[code]
	body := struct {
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Code      string `json:"code"`
		Retry     string `json:"retry"`
		PaymentID string `json:"payment_id,omitempty"`
	}{http.StatusText(p.status), p.status, code, p.retry, paymentID}
	return answer{status: p.status, body: encode(body), paymentID: paymentID}
}

// handle writes answers. An error is the database's: nothing was committed, and the same key may come again.
func (s *service) handle(handler func(http.ResponseWriter, *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, err := handler(w, r)
		if err != nil {
			s.logger.ErrorContext(r.Context(), "request failed", "error", err)
			a = refuse("unavailable", "")
		}
		header := w.Header()
		header.Set("Content-Type", "application/json")
		switch {
		case a.status == http.StatusCreated:
			header.Set("Location", "/payments/"+a.paymentID)
		case a.status >= http.StatusBadRequest:
			header.Set("Content-Type", "application/problem+json")
		}
		if a.status == http.StatusServiceUnavailable {
			header.Set("Retry-After", "1")
		}
		if a.replayed {
			header.Set("Idempotent-Replayed", "true")
		}
		if keys := r.Header["Idempotency-Key"]; len(keys) == 1 {
			header["Idempotency-Key"] = keys
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // a client that has gone will ask again
	}
}

// run serves until the process is killed. That is safe at any moment, so there is no end to prepare.
func run(ctx context.Context, logger *slog.Logger) error {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"                  // what is committed is kept
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "5s" // a stopped instance gives its locks back
	db, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, schema); err != nil {
		return err
	}
	s := &service{db: db, logger: logger}
	router := chi.NewRouter()
	router.Post("/payments", s.handle(s.postPayment))
	router.Get("/payments/{id:[A-Za-z0-9_]+}", s.handle(s.getPayment))
	router.Put("/accounts/{id:[A-Za-z0-9_.:-]+}", s.handle(s.putAccount))
	router.Get("/accounts/{id:[A-Za-z0-9_.:-]+}", s.handle(s.getAccount))
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("LISTEN_ADDR"), "127.0.0.1:8090"))
	if err != nil {
		return err
	}
	logger.InfoContext(ctx, "serving", "address", listener.Addr().String())
	server := &http.Server{Handler: router, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	return server.Serve(listener)
}

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(context.Background(), logger); err != nil {
		logger.Error("ended", "error", err)
		os.Exit(1)
	}
}
