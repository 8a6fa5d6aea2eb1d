package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/audit"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgserver"
	"github.com/paymentsvc/paymentsvc/migrations"
)

// books are a migrated database. The service charges some merchants, and pgbench charges
// as many others. The service may also have a quiet merchant (Settings.hasQuiet).
type books struct {
	url        string
	apiKeys    []string // of the merchants of the service
	quietKey   string   // the API key of the quiet merchant; empty: there is none
	pgbenching int64    // id of the first merchant of pgbench
}

func (s *site) newBooks(
	ctx context.Context, server *pgserver.Server, name string,
) (books, error) {
	b, err := s.emptyBooks(ctx, server, name)
	if err != nil {
		return b, err
	}
	if err := s.addAccounts(ctx, b); err != nil {
		return b, err
	}
	return b, execute(ctx, b.url, `VACUUM ANALYZE`)
}

// emptyBooks are without accounts.
func (s *site) emptyBooks(
	ctx context.Context, server *pgserver.Server, name string,
) (b books, err error) {
	if err := execute(ctx, server.URL(), `CREATE DATABASE `+name); err != nil {
		return b, err
	}
	u, err := url.Parse(server.URL())
	if err != nil {
		return b, fmt.Errorf("reading the database URL: %w", err)
	}
	u.Path = "/" + name
	b.url = u.String()
	if err := migrations.Up(ctx, b.url); err != nil {
		return b, err
	}
	pool, err := pgxpool.New(ctx, b.url)
	if err != nil {
		return b, fmt.Errorf("connecting: %w", err)
	}
	defer pool.Close()
	for range s.config.Merchants {
		_, apiKey, err := merchants.Create(ctx, pool, paymentsvcName)
		if err != nil {
			return b, err
		}
		b.apiKeys = append(b.apiKeys, apiKey)
	}
	if s.config.settings().hasQuiet() {
		if _, b.quietKey, err = merchants.Create(ctx, pool, paymentsvcName); err != nil {
			return b, err
		}
	}
	b.pgbenching, err = createForPgbench(ctx, pool, s.config.Merchants)
	return b, err
}

// createForPgbench makes merchants with consecutive ids, and returns the first. pgbench
// has no lists: it can choose a merchant at random only from a range of numbers.
func createForPgbench(ctx context.Context, pool *pgxpool.Pool, n int) (first int64, err error) {
	first, _, err = merchants.Create(ctx, pool, pgbenchName)
	if err != nil {
		return 0, err
	}
	_, err = pool.Exec(ctx, `
		INSERT INTO merchants (id, name)
		SELECT $1::bigint + n, $2
		FROM generate_series(1, $3::int - 1) AS n`, first, pgbenchName, n)
	if err != nil {
		return 0, fmt.Errorf("creating the merchants of pgbench: %w", err)
	}
	return first, nil
}

func (s *site) addAccounts(ctx context.Context, b books) error {
	return execute(ctx, b.url, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		SELECT m.id, n::text, 'USD', NULL
		FROM merchants m, generate_series($1::int, $2) AS n`,
		firstAccount, firstAccount+s.config.Accounts/s.config.Merchants-1)
}

// Books are the books after the measurements. There is no report of books that are not
// in order.
type Books struct {
	Charges  int `json:"charges"`  // answered
	Payments int `json:"payments"` // found
}

// verify compares the charges that were answered with the payments in the database, and
// runs the audit.
func (b books) verify(ctx context.Context, contenders []*contender) (v Books, err error) {
	made := map[string]int{paymentsvcName: 1} // chargeOnce
	for _, c := range contenders {
		for _, m := range c.measured {
			made[c.name] += m.Made
		}
	}
	return v, connected(ctx, b.url, func(conn *pgx.Conn) error {
		for name, charges := range made {
			counting, args := `
				SELECT count(*)
				FROM payments
				JOIN merchants ON merchants.id = merchant_id
				WHERE name = $1`, []any{name}
			if name == onefileName {
				counting, args = `SELECT count(*) FROM onefile.payments`, nil
			}
			var payments int
			if err := conn.QueryRow(ctx, counting, args...).Scan(&payments); err != nil {
				return fmt.Errorf("counting the payments of %s: %w", name, err)
			}
			if payments != charges {
				return fmt.Errorf("%s answered %d charges, and there are %d payments", name,
					charges, payments)
			}
			v.Charges += charges
			v.Payments += payments
		}
		// the audit sorts all rows
		if _, err := conn.Exec(ctx, `SET work_mem = '256MB'`); err != nil {
			return fmt.Errorf("preparing the audit: %w", err)
		}
		violations, err := audit.Run(ctx, conn, 10)
		for _, violation := range violations {
			err = errors.Join(err, fmt.Errorf("the books are not in order: %v", violation))
		}
		return err
	})
}
