package pgtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// Standby makes COMMITs wait for a synchronous standby that does not exist, from Leave
// until comeBack.
type Standby struct{ admin *pgxpool.Pool }

// NewStandby is for the server of the administrator's URL.
func NewStandby(t testing.TB, adminURL string) *Standby {
	t.Helper()
	admin, err := pgxpool.New(t.Context(), adminURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return &Standby{admin}
}

// Leave returns when COMMITs wait. The server reads its settings with a delay, so a
// canary commits until its COMMIT waits.
func (s *Standby) Leave(t testing.TB) (comeBack func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var canary sync.WaitGroup
	comeBack = sync.OnceFunc(func() {
		stop()
		s.configure(t, `ALTER SYSTEM RESET synchronous_standby_names`)
		canary.Wait()
		await.Until(t, 10*time.Second, "all COMMITs return", func() bool {
			return s.AwaitedBy(t) == 0
		})
	})
	t.Cleanup(comeBack)
	s.configure(t, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	canary.Go(func() {
		for ctx.Err() == nil {
			_, _ = s.admin.Exec(ctx, `SELECT pg_logical_emit_message(true, 'canary', '')`)
		}
	})
	await.Until(t, 10*time.Second, "a COMMIT waits for the standby", func() bool {
		return s.AwaitedBy(t) == 1
	})
	return comeBack
}

// AwaitedBy is how many COMMITs wait.
func (s *Standby) AwaitedBy(t testing.TB) (n int) {
	t.Helper()
	if err := s.admin.QueryRow(context.Background(),
		`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).
		Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// CancelWaits has every COMMIT of the service that waits succeed now, with a WARNING.
func (s *Standby) CancelWaits(t testing.TB) {
	t.Helper()
	if _, err := s.admin.Exec(context.Background(), `
		SELECT pg_cancel_backend(pid)
		FROM pg_stat_activity
		WHERE wait_event = 'SyncRep' AND application_name LIKE 'paymentsvc%'`); err != nil {
		t.Fatal(err)
	}
}

func (s *Standby) configure(t testing.TB, statement string) {
	t.Helper()
	for _, each := range []string{statement, `SELECT pg_reload_conf()`} {
		if _, err := s.admin.Exec(context.Background(), each); err != nil {
			t.Fatal(err)
		}
	}
}
