package payments

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/pgtest"
	"github.com/paymentsvc/paymentsvc/test/service"
)

// FAULTS 19. Somebody may have cancelled the first COMMIT's wait for a synchronous standby, so that its answer can be read and no
// standby has it. A replay of it is an acknowledgement only after a COMMIT of its own has waited.
func TestAReplayWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	s := newService(t, cluster.URL())
	merchant := newMerchant(t, s, map[string]int64{"a": 100, "b": 0})
	caller := callerWith(merchant, "k")
	request := Charge{Amount: usd(7), SourceAccount: "a", DestinationAccount: "b"}
	charge(t, s, merchant, "k", request)
	authorized := charge(t, s, merchant, "hold", Charge{Amount: usd(7), SourceAccount: "a", DestinationAccount: "b", AuthorizeOnly: true})
	capture := Capture{PaymentID: authorized.PaymentID}
	if _, err := s.Capture(t.Context(), callerWith(merchant, "capture"), capture); err != nil {
		t.Fatal(err)
	}

	standby := newStandby(t, cluster.AdminURL())
	for what, replay := range map[string]func() (Reply, error){
		"of a charge": func() (Reply, error) { return s.Charge(context.Background(), caller, request) },
		"of a capture": func() (Reply, error) {
			return s.Capture(context.Background(), callerWith(merchant, "capture"), capture)
		},
		"against a rule": func() (Reply, error) {
			return s.replayOrRefuse(context.Background(), newCharge(caller, request), &Refusal{})
		},
	} {
		t.Run(what, func(t *testing.T) {
			comeBack := standby.leave(t)
			replied := make(chan error, 1)
			go func() {
				_, err := replay()
				replied <- err
			}()
			service.Await(t, 10*time.Second, "the replay waits", func() bool { return standby.awaitedBy(t) == 2 || len(replied) > 0 })
			if len(replied) > 0 {
				t.Error("the replay does not wait")
			}
			comeBack()
			if err := <-replied; err != nil {
				t.Error(err)
			}
		})
	}
	if b := balanceOf(t, s, merchant, "b"); b != 14 {
		t.Errorf("b got %d of 7 charged and 7 captured", b)
	}
}

// standby makes COMMITs wait for a synchronous standby that does not exist, from leave until it comes back.
type standby struct{ admin *pgxpool.Pool }

func newStandby(t *testing.T, adminURL string) *standby {
	t.Helper()
	admin, err := pgxpool.New(t.Context(), adminURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return &standby{admin}
}

// leave returns when COMMITs wait. The server reads its settings in its own time, so there is one that waits from then on.
func (s *standby) leave(t *testing.T) (comeBack func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var canary sync.WaitGroup
	comeBack = sync.OnceFunc(func() {
		stop()
		s.configure(t, `ALTER SYSTEM RESET synchronous_standby_names`)
		canary.Wait()
		service.Await(t, 10*time.Second, "no COMMIT waits any more", func() bool { return s.awaitedBy(t) == 0 })
	})
	t.Cleanup(comeBack)
	s.configure(t, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	canary.Go(func() {
		for ctx.Err() == nil {
			_, _ = s.admin.Exec(ctx, `SELECT pg_logical_emit_message(true, 'canary', '')`)
		}
	})
	service.Await(t, 10*time.Second, "a COMMIT waits for the standby", func() bool { return s.awaitedBy(t) == 1 })
	return comeBack
}

// awaitedBy is how many COMMITs wait.
func (s *standby) awaitedBy(t *testing.T) (n int) {
	t.Helper()
	if err := s.admin.QueryRow(context.Background(),
		`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *standby) configure(t *testing.T, statement string) {
	t.Helper()
	for _, each := range []string{statement, `SELECT pg_reload_conf()`} {
		if _, err := s.admin.Exec(context.Background(), each); err != nil {
			t.Fatal(err)
		}
	}
}
