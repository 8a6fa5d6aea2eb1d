// Command consumer handles each event of the payment service once, and gives points
// for payments: one for each dollar. See README.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// schema is made by the first of several consumers; the lock makes the others wait.
const schema = `
	SELECT pg_advisory_xact_lock(7001);
	CREATE SCHEMA IF NOT EXISTS consumer;
	CREATE TABLE IF NOT EXISTS consumer.inbox (
		event_id   text PRIMARY KEY,
		handled_at timestamptz NOT NULL DEFAULT now());
	CREATE TABLE IF NOT EXISTS consumer.points (
		account_id text PRIMARY KEY,
		points     bigint NOT NULL);`

// event has the members that this consumer needs.
type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data struct {
		Account string `json:"source_account"`
		Amount  int64  `json:"amount_captured"`
	} `json:"data"`
}

// handle does the effect of an event once, however often the event comes and to
// however many consumers. The inbox row and the effect are one transaction, so both
// are there or neither. A second delivery at the same moment waits in its INSERT for
// the first.
func handle(ctx context.Context, db *pgxpool.Pool, e event) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		claimed, err := tx.Exec(ctx, `
			INSERT INTO consumer.inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING`, e.ID)
		if err != nil || claimed.RowsAffected() == 0 {
			return err // nil: it was handled before
		}
		return givePoints(ctx, tx, e)
	})
}

// givePoints is the effect. A repetition of it would be wrong.
func givePoints(ctx context.Context, tx pgx.Tx, e event) error {
	if e.Type != "payment.succeeded" {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO consumer.points AS p (account_id, points) VALUES ($1, $2)
		ON CONFLICT (account_id) DO UPDATE SET points = p.points + excluded.points`,
		e.Data.Account, e.Data.Amount/100)
	return err
}

// receive acknowledges a message after its effect is committed, and not before. A
// message without an acknowledgement comes again.
func receive(ctx context.Context, db *pgxpool.Pool, logger *slog.Logger, m jetstream.Msg) error {
	var e event
	if err := json.Unmarshal(m.Data(), &e); err != nil || e.ID == "" {
		logger.ErrorContext(ctx, "not an event", "subject", m.Subject(), "error", err)
		return m.Term() // it would never work
	}
	if err := handle(ctx, db, e); err != nil {
		logger.ErrorContext(ctx, "it will come again", "event", e.ID, "error", err)
		return m.NakWithDelay(time.Second)
	}
	return m.Ack()
}

// main consumes until it is killed, which is safe at any moment.
func main() {
	ctx, logger := context.Background(), slog.New(slog.NewJSONHandler(os.Stderr, nil))
	config := must(pgxpool.ParseConfig(os.Getenv("DATABASE_URL")))
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on" // committed is durable
	db := must(pgxpool.NewWithConfig(ctx, config))
	must(db.Exec(ctx, schema))
	js := must(jetstream.New(must(nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1)))))
	subject := "payments.events." + cmp.Or(os.Getenv("MERCHANT_ID"), "*")
	consumer := must(js.CreateOrUpdateConsumer(ctx, "PAYMENTS_EVENTS", jetstream.ConsumerConfig{
		Durable: "points", FilterSubject: subject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: 5 * time.Second,
	}))
	messages := must(consumer.Messages(jetstream.WithMessagesErrOnMissingHeartbeat(false)))
	logger.InfoContext(ctx, "consuming", "subject", subject)
	for {
		if err := receive(ctx, db, logger, must(messages.Next())); err != nil {
			logger.WarnContext(ctx, "it will come again", "error", err)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
