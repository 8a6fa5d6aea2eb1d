package wire_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// shape is one way in which a client sends BEGIN, INSERT, SELECT, COMMIT: these are
// steps 0 to 3.
type shape struct {
	name string
	mode string // pgx's default_query_exec_mode
	run  func(ctx context.Context, conn *pgx.Conn, id int) error
}

const commitStep = 3

var shapes = []shape{
	{"a round trip a statement", "cache_statement", oneByOne},
	{"one pipeline", "cache_statement", inOnePipeline},
	{"two pipelines", "cache_statement", inTwoPipelines},
	{"one pipeline of unprepared statements", "exec", inOnePipeline},
	{"simple queries", "simple_protocol", oneByOne},
}

const (
	insertRow = `INSERT INTO wire_rows (id, body) VALUES ($1, 'x')`
	selectRow = `SELECT id FROM wire_rows WHERE id = $1 FOR NO KEY UPDATE`
)

func oneByOne(ctx context.Context, conn *pgx.Conn, id int) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, insertRow, id); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, selectRow, id).Scan(&id); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func inOnePipeline(ctx context.Context, conn *pgx.Conn, id int) error {
	batch := &pgx.Batch{}
	batch.Queue(`BEGIN`)
	batch.Queue(insertRow, id)
	batch.Queue(selectRow, id)
	batch.Queue(`COMMIT`)
	return send(ctx, conn, batch)
}

func inTwoPipelines(ctx context.Context, conn *pgx.Conn, id int) error {
	first := &pgx.Batch{}
	first.Queue(`BEGIN`)
	first.Queue(insertRow, id)
	if err := send(ctx, conn, first); err != nil {
		return err
	}
	second := &pgx.Batch{}
	second.Queue(selectRow, id)
	second.Queue(`COMMIT`)
	return send(ctx, conn, second)
}

// send reads every reply and checks the tag of COMMIT, as a careful client does.
func send(ctx context.Context, conn *pgx.Conn, batch *pgx.Batch) error {
	results := conn.SendBatch(ctx, batch)
	for _, queued := range batch.QueuedQueries {
		tag, err := results.Exec()
		if err != nil {
			_ = results.Close()
			return err
		}
		if queued.SQL == `COMMIT` && tag.String() != `COMMIT` {
			_ = results.Close()
			return pgx.ErrTxCommitRollback
		}
	}
	return results.Close()
}

// eachShape runs the promise for every way of sending the transaction.
func eachShape(t *testing.T, promise func(b *bench, run func(conn *pgx.Conn, id int) error)) {
	eachShapeAt(t, pgtest.New(t).URL, promise)
}

func eachShapeAt(
	t *testing.T, url string, promise func(b *bench, run func(conn *pgx.Conn, id int) error),
) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			b := newBenchAt(t, url)
			b.mode = shape.mode
			promise(b, func(conn *pgx.Conn, id int) error { return shape.run(b.ctx, conn, id) })
		})
	}
}
