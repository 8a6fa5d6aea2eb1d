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

// books are a migrated database. One merchant, or several, are charged through the
// service, and another one by pgbench.
type books struct {
	url        string
	apiKeys    []string // of the merchants of the service
	pgbenching int64    // id of the other merchant
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
	b.pgbenching, _, err = merchants.Create(ctx, pool, pgbenchName)
	return b, err
}

func (s *site) addAccounts(ctx context.Context, b books) error {
	return execute(ctx, b.url, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		SELECT m.id, n::text, 'USD', NULL
		FROM merchants m,
			generate_series($1::int,
				$1 + CASE WHEN m.name = $2 THEN $3::int ELSE $4 END - 1) AS n`,
		firstAccount, paymentsvcName, s.config.Accounts/s.config.Merchants, s.config.Accounts)
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
