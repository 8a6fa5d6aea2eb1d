package wire_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/wire"
)

// BenchmarkPipeline compares a pipelined transaction of four statements past the proxy,
// through it, and through it with a fault that looks at every statement and never
// fires.
func BenchmarkPipeline(b *testing.B) {
	db := pgtest.New(b)
	proxy := wire.Start(b, db.URL)
	b.Run("direct", func(b *testing.B) { benchmarkPipeline(b, db.URL) })
	b.Run("proxy", func(b *testing.B) { benchmarkPipeline(b, proxy.URL()) })
	proxy.On(wire.Statement("nothing of the sort"), wire.LoseReply).Optional()
	b.Run("proxy with a fault", func(b *testing.B) { benchmarkPipeline(b, proxy.URL()) })
}

func benchmarkPipeline(b *testing.B, url string) {
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(b.Context(), `DROP TABLE IF EXISTS wire_rows`); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Exec(b.Context(),
		`CREATE TABLE wire_rows (id bigint PRIMARY KEY, body text NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	id := 0
	for b.Loop() {
		id++
		if err := inOnePipeline(b.Context(), conn, id); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRows reads 64 MB in rows of 1 kB.
func BenchmarkRows(b *testing.B) {
	db := pgtest.New(b)
	proxy := wire.Start(b, db.URL)
	for name, url := range map[string]string{"direct": db.URL, "proxy": proxy.URL()} {
		b.Run(name, func(b *testing.B) {
			conn, err := pgx.Connect(b.Context(), url)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close(context.Background())
			b.SetBytes(64 << 20)
			for b.Loop() {
				rows, err := conn.Query(b.Context(),
					`SELECT $1::text FROM generate_series(1, 65536)`, strings.Repeat("x", 1<<10))
				if err != nil {
					b.Fatal(err)
				}
				// the bytes where they are, so that this measures the way there
				var row pgtype.DriverBytes
				if _, err := pgx.ForEachRow(rows, []any{&row}, func() error {
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
