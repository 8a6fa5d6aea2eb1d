package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// What a connection must be like before anything runs over it.
func TestPooledConnectionsHaveTheirSettings(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pools, err := postgres.Open(t.Context(),
		postgres.Options{URL: db.URL, GeneralSize: 3, MoneySize: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	planning := "force_generic_plan"
	if pgtest.Sharded() {
		planning = "auto"
	}
	for _, setting := range []struct{ name, general, money string }{
		{"role", postgres.Role, postgres.Role},
		{"application_name", "paymentsvc", "paymentsvc-money"},
		{"timezone", "UTC", "UTC"},

		// Every wait has an end. A rival that stopped while it holds locks is ended
		// before those that wait for it give up.
		{"idle_in_transaction_session_timeout", "2s", "2s"},
		{"lock_timeout", "1s", "4s"},
		{"statement_timeout", "5s", "5s"},
		{"client_connection_check_interval", "1s", "1s"},
		{"tcp_keepalives_idle", "2", "2"},
		{"tcp_keepalives_interval", "1", "1"},
		{"tcp_keepalives_count", "3", "3"},
		{"tcp_user_timeout", "3000", "3000"},

		// COMMIT waits for the disk.
		{"synchronous_commit", "on", "on"},

		// The few statements of a charge are planned once, and for look-ups by key.
		{"plan_cache_mode", "auto", planning},
		{"enable_seqscan", "off", "off"},
		{"jit", "off", "off"},
		{"enable_hashjoin", "on", "off"},
		{"enable_mergejoin", "on", "off"},
		{"enable_material", "on", "off"},
	} {
		for _, pool := range []struct {
			name string
			of   *pgxpool.Pool
			want string
		}{
			{"general", pools.General, setting.general},
			{"money", pools.Money, setting.money},
			{"probe", pools.Probe, setting.general},
		} {
			t.Run(pool.name+" "+setting.name, func(t *testing.T) {
				everyConnection(t, pool.of, func(conn *pgxpool.Conn) {
					if got := read[string](t, conn, `SELECT current_setting($1)`,
						setting.name); got != pool.want {
						t.Errorf("%s, want %s", got, pool.want)
					}
				})
			})
		}
	}
}

// Whatever somebody has set for the database, for the login or in the URL, money waits
// for the disk.
func TestMoneyWaitsForTheDiskWhateverIsSetElsewhere(t *testing.T) {
	t.Parallel()
	const inURL = "&synchronous_commit=off&options=-c%20synchronous_commit%3Doff"
	db := pgtest.New(t)
	configure(t, db.Pool, "synchronous_commit", "off")
	execute(t, db.Pool,
		fmt.Sprintf(`ALTER ROLE CURRENT_USER IN DATABASE %q SET synchronous_commit = off`,
			read[string](t, db.Pool, `SELECT current_database()::text`)))
	pools := open(t, db.URL+inURL)
	if got := read[string](t, pools.General, `SHOW synchronous_commit`); got != "off" {
		t.Fatalf("synchronous_commit is %s elsewhere: the test's own settings have no effect", got)
	}
	if got := read[string](t, pools.Money, `SHOW synchronous_commit`); got != "on" {
		t.Errorf("synchronous_commit is %s for money", got)
	}
}

func TestAURLThatCannotBeReadIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Options{
		URL: "postgres://owner:canary@host:port/database", GeneralSize: 1, MoneySize: 1,
	})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v, want an error that keeps the password", err)
	}
}

func TestProbeAnswersWhenOtherConnectionsAreTaken(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pools := open(t, db.URL)
	everyConnection(t, pools.General, func(*pgxpool.Conn) {
		everyConnection(t, pools.Money, func(*pgxpool.Conn) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := pools.CheckWritable(ctx); err != nil {
				t.Error(err)
			}
		})
	})
}
