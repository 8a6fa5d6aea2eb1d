package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A plan that is cached while the tables are small is kept while they grow. So each
// statement of a money transaction, and each statement in a trigger, must find rows by
// their whole key, whatever ANALYZE saw.
func TestPlansStayLookUpsWhenAnalyzedTablesGrow(t *testing.T) {
	t.Parallel()
	for _, analyzed := range []int{0, 1, 10, 10_000} {
		t.Run(fmt.Sprint(analyzed), func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewBroken(t) // the rows that only fill the tables have no entries
			admin := superuser(t, db.AdminURL)
			prepareAccounts(t, db)
			fill(t, admin, 1, analyzed)
			execute(t, admin, `ANALYZE`)
			general, money := open(t, db.URL), open(t, db.URL)
			service := newService(t, &postgres.Pools{
				General: general.General, Money: money.Money,
				Probe: general.Probe,
			})
			runEveryStatement(t, service, "while the tables are small")
			const grown = 10_000
			fill(t, admin, 10_001, 10_000+grown)
			before := keyReads(t, admin)
			runEveryStatement(t, service, "after they have grown")
			service.Close()
			money.Close() // a backend reports its counts when it ends
			general.Close()
			await.Until(t, 10*time.Second, "the server has counted", func() bool {
				return keyReads(t, admin)["idempotency_keys"] > before["idempotency_keys"]
			})
			for table, reads := range keyReads(t, admin) {
				if n := reads - before[table]; n > grown/2 {
					t.Errorf("%d rows of %s were read for a few operations", n, table)
				}
			}
		})
	}
}

// fill inserts rows numbered from first to last into every hot table, as payments of
// merchant 1.
func fill(t *testing.T, admin *pgx.Conn, first, last int) {
	t.Helper()
	execute(t, admin, `SET session_replication_role = replica`)
	for _, sql := range []string{
		`INSERT INTO accounts (merchant_id, id, currency)
		SELECT 1, 'account-' || n, 'USD' FROM generate_series($1::int, $2::int) n`,
		`INSERT INTO idempotency_keys (merchant_id, scope, key, operation, fingerprint,
			fingerprint_version, request_id, payment_id)
		SELECT 1, 'client', 'key-' || n, 'charge', sha256('x'), 1, md5('r' || n)::uuid,
			md5('p' || n)::uuid
		FROM generate_series($1::int, $2::int) n`,
		`INSERT INTO idempotency_answers
			(merchant_id, request_id, status, location, body, created_at)
		SELECT 1, md5('r' || n)::uuid, 201, '', '', now()
		FROM generate_series($1::int, $2::int) n`,
		`INSERT INTO payments (merchant_id, id, status, amount, currency, source_account,
			destination_account, amount_captured, description, metadata, idempotency_key,
			created_at)
		SELECT 1, md5('p' || n)::uuid, 'succeeded', 1, 'USD', 'world', 'shop', 1, '', '{}',
			'key-' || n, now()
		FROM generate_series($1::int, $2::int) n`,
		`INSERT INTO payment_references (merchant_id, reference, payment_id)
		SELECT 1, 'reference-' || n, md5('p' || n)::uuid FROM generate_series($1::int, $2::int) n`,
	} {
		execute(t, admin, sql, first, last)
	}
}

func prepareAccounts(t *testing.T, db *pgtest.DB) {
	t.Helper()
	execute(t, db.Pool, `INSERT INTO merchants (id, name) VALUES (1, 'one')`)
	execute(t, db.Pool, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit)
		VALUES (1, 'world', 'USD', NULL), (1, 'shop', 'USD', 0)`)
}

func newService(t *testing.T, pools *postgres.Pools) *payments.Service {
	t.Helper()
	return payments.New(payments.Config{
		Pools: pools, Retention: time.Hour, AuthorizationLifetime: time.Hour, Workers: 1,
		BatchSizeMax: 512, QueueSizeMax: 1000, Timeout: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
}

// runEveryStatement makes the service run every statement of a money transaction, under
// keys and references that begin with the prefix: charges that are fresh, replayed,
// declined and refused, references that are free, taken and freed again, every change of
// a payment; and the reads of one payment.
func runEveryStatement(t *testing.T, service *payments.Service, prefix string) {
	t.Helper()
	do := func(key string,
		operation func(payments.Caller) (payments.Reply, error),
	) payments.Reply {
		reply, err := operation(payments.Caller{
			Key: idempotency.Key{
				MerchantID: 1, Scope: idempotency.ScopeClient, Value: prefix + key,
			},
			RequestID: uuid.Must(uuid.NewV7()),
		})
		if _, refused := errors.AsType[*payments.Refusal](err); err != nil && !refused {
			t.Fatal(key, ": ", err)
		}
		return reply
	}
	charge := func(key string, minor int64, from, to, reference string, hold bool) payments.Reply {
		return do(key, func(caller payments.Caller) (payments.Reply, error) {
			return service.Charge(context.Background(), caller, payments.Charge{
				Amount:        ledger.Money{Minor: minor, Currency: "USD"},
				SourceAccount: from, DestinationAccount: to,
				Reference: prefix + reference, AuthorizeOnly: hold,
			})
		})
	}
	paid := charge("fresh", 5, "world", "shop", "order 1", false)
	charge("fresh", 5, "world", "shop", "order 1", false) // a replay
	charge("taken reference", 5, "world", "shop", "order 1", false)
	charge("declined", 1000, "shop", "world", "order 2", false)
	charge("refused", 5, "world", "nobody", "order 3", false)
	held := charge("held", 5, "world", "shop", "order 4", true)
	canceled := charge("held, then canceled", 5, "world", "shop", "order 5", true)
	do("capture", func(caller payments.Caller) (payments.Reply, error) {
		return service.Capture(context.Background(), caller,
			payments.Capture{PaymentID: held.PaymentID})
	})
	do("cancel", func(caller payments.Caller) (payments.Reply, error) {
		return service.Cancel(context.Background(), caller, canceled.PaymentID)
	})
	do("refund", func(caller payments.Caller) (payments.Reply, error) {
		return service.Refund(context.Background(), caller,
			payments.RefundRequest{PaymentID: paid.PaymentID})
	})
	if _, err := service.Get(t.Context(), 1, paid.PaymentID); err != nil {
		t.Fatal(err)
	}
	page, err := service.List(t.Context(), 1, payments.Filter{Key: prefix + "fresh"},
		payments.Newest, 1)
	if err != nil || len(page.Payments) != 1 {
		t.Fatal(page, err)
	}
}

// keyReads counts, by table, the rows that were read in scans of the table or an index.
func keyReads(t *testing.T, admin *pgx.Conn) map[string]int64 {
	t.Helper()
	rows, err := admin.Query(t.Context(), `
		SELECT relname::text, seq_tup_read + coalesce(
			(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid),
			0)::bigint
		FROM pg_stat_user_tables t WHERE schemaname = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	reads := map[string]int64{}
	var table string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&table, &n}, func() error {
		reads[table] = n
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return reads
}

// A migration of the next release alters tables under running instances. A statement that
// was prepared before it would fail once on each connection.
func TestReadsAndEditsSurviveAnAlteredTable(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	prepareAccounts(t, db)
	pools := open(t, db.URL)
	service, accounts := newService(t, pools), ledger.NewAccounts(pools.General)
	defer service.Close()
	runEveryStatement(t, service, "before")
	page, err := service.List(t.Context(), 1, payments.Filter{}, payments.Newest, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref := ledger.Ref{MerchantID: 1, AccountID: "shop"}
	text := "edited"
	everything := func() error {
		_, read := accounts.Get(t.Context(), ref)
		_, _, put := accounts.Put(t.Context(), ref,
			ledger.Terms{Currency: "USD", Metadata: map[string]string{}}, ledger.Unconditional)
		_, listed := accounts.List(t.Context(), 1, "", 10)
		_, edited := service.Edit(t.Context(), 1, page.Payments[0].ID, ledger.Unconditional,
			payments.Patch{Description: &text})
		_, found := service.List(t.Context(), 1, payments.Filter{}, payments.Newest, 10)
		return errors.Join(read, put, listed, edited, found)
	}
	if err := everything(); err != nil {
		t.Fatal(err)
	}
	execute(t, superuser(t, db.AdminURL), `
		ALTER TABLE payments ALTER description TYPE varchar(500);
		ALTER TABLE accounts ALTER name TYPE varchar(200)`)
	if err := everything(); err != nil {
		t.Error("after the tables were altered: ", err)
	}
}
