package cards

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	// patience is for what takes milliseconds on an idle machine.
	patience = 30 * time.Second
	// merchantID is the merchant of these tests.
	merchantID = 1
	// tick is how often a test's instance recovers attempts.
	tick = 20 * time.Millisecond
)

// town is a processor and a database with one merchant. Any number of instances share
// them. After the test, the books of the two are compared.
type town struct {
	t         *testing.T
	db        *pgtest.DB
	processor *simulator.Server
	log       service.Output
	dashboard bool // somebody has refunded there, so the books differ
}

func newTown(t *testing.T, edits ...func(*simulator.Options)) *town {
	t.Helper()
	t.Parallel()
	tn := &town{t: t, db: pgtest.New(t)}
	tn.processor = startProcessor(t, edits...)
	tn.settleIn()
	return tn
}

// settleIn makes the merchant, and expects the two books to agree in the end.
func (tn *town) settleIn() {
	tn.t.Helper()
	tn.execute(`INSERT INTO merchants (id, name) VALUES (1, 'one'), (2, 'two')`)
	for _, id := range []int64{1, 2} {
		if _, _, err := ledger.NewAccounts(tn.db.Pool).Put(tn.t.Context(),
			ledger.Ref{MerchantID: id, AccountID: "shop"},
			ledger.Terms{
				Currency: "USD", Metadata: map[string]string{},
				OverdraftLimit: new(int64),
			},
			ledger.Unconditional); err != nil {
			tn.t.Fatal(err)
		}
	}
	tn.t.Cleanup(func() {
		if !tn.dashboard {
			tn.wantSameBooks()
		}
		if tn.t.Failed() {
			tn.t.Log(tn.log.String())
		}
	})
}

// startProcessor starts a simulator whose faults take no longer than tests can wait.
func startProcessor(t *testing.T, edits ...func(*simulator.Options)) *simulator.Server {
	t.Helper()
	options := simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"),
		Delays: simulator.Delays{
			Slow: 100 * time.Millisecond, Drip: 50 * time.Millisecond,
			Hang: callTimeout * 3 / 2, Processing: 300 * time.Millisecond,
		},
	}
	for _, edit := range edits {
		edit(&options)
	}
	processor, err := simulator.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := processor.Close(); err != nil {
			t.Error(err)
		}
	})
	return processor
}

// callTimeout limits a call of an instance. It leaves a busy machine time to answer.
const callTimeout = 500 * time.Millisecond

// instance is one of the service. It recovers nothing by itself: see recovering.
type instance struct {
	*Service
	t     *testing.T
	pools *postgres.Pools
}

// config is what tests change of an instance.
type config struct {
	Settings
	generalSize  int // connections
	moneySize    int
	authorizedMS int // how long an authorization lasts
	tracer       pgx.QueryTracer
}

func (tn *town) instance(edits ...func(*config)) *instance {
	tn.t.Helper()
	c := config{
		Settings: Settings{
			SecretKey: simulator.DefaultSecret, URL: tn.processor.URL(), Timeout: callTimeout,
			ResendWindow: time.Hour,
		},
		generalSize: 4, moneySize: 2, authorizedMS: 3_600_000,
	}
	for _, edit := range edits {
		edit(&c)
	}
	pools, err := postgres.Open(tn.t.Context(), postgres.Options{
		URL: tn.db.URL, GeneralSize: c.generalSize, MoneySize: c.moneySize, Tracer: c.tracer,
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&tn.log, nil))
	engine := payments.New(payments.Config{
		Pools: pools, Retention: time.Hour,
		AuthorizationLifetime: time.Duration(c.authorizedMS) * time.Millisecond,
		AttemptLease:          BeginLease,
		Sharded:               pgtest.Sharded(),
		Workers:               c.moneySize, BatchSizeMax: 512, QueueSizeMax: 10_000,
		Timeout:   10 * time.Second,
		Logger:    logger,
		CheckCard: stripe.CheckAmount,
	})
	s, err := New(tn.t.Context(), Config{
		Pool: pools.General, Payments: engine, Settings: c.Settings, Logger: logger,
		Sharded: pgtest.Sharded(),
		Processor: stripe.New(stripe.Config{
			SecretKey: c.SecretKey, BaseURL: c.URL, Timeout: c.Timeout, Logger: logger,
		}),
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	in := &instance{Service: s, t: tn.t, pools: pools}
	tn.t.Cleanup(func() {
		s.Close()
		engine.Close()
		pools.Close()
	})
	return in
}

// recovering makes the instance take over due attempts until the test is over.
func (in *instance) recovering() *instance {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if err := in.Recover(ctx); err != nil && ctx.Err() == nil {
				in.logger.Warn("recovering", "error", err)
			}
			if _, err := in.payments.ExpireAuthorizations(ctx, 100); err != nil &&
				ctx.Err() == nil {
				in.logger.Warn("expiring", "error", err)
			}
		}
	})
	in.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return in
}

func (tn *town) execute(sql string, args ...any) {
	tn.t.Helper()
	if _, err := tn.db.Pool.Exec(context.Background(), sql, args...); err != nil {
		tn.t.Fatalf("%s: %v", sql, err)
	}
}

// makeDue ends all leases, as time does when their instances are stalled or dead.
func (tn *town) makeDue() {
	tn.t.Helper()
	tn.execute(`UPDATE processor_attempts SET due_at = clock_timestamp() WHERE state = 'open'`)
}

// attempt reads the attempt of a key.
func (tn *town) attempt(in *instance, key string) *Attempt {
	tn.t.Helper()
	var id uuid.UUID
	if err := tn.db.Pool.QueryRow(context.Background(), `
		SELECT a.id FROM processor_attempts a
		JOIN idempotency_keys k ON k.merchant_id = a.merchant_id AND k.request_id = a.request_id
		WHERE k.merchant_id = $1 AND k.key = $2`, merchantID, key).Scan(&id); err != nil {
		tn.t.Fatalf("the attempt of %s: %v", key, err)
	}
	a, err := in.find(context.Background(), attemptRef{merchantID, id})
	if err != nil {
		tn.t.Fatal(err)
	}
	return a
}

// awaitState waits until the attempt of a key is in a state.
func (tn *town) awaitState(in *instance, key string, state State) *Attempt {
	tn.t.Helper()
	var a *Attempt
	await.Until(tn.t, patience, fmt.Sprintf("the attempt of %s is %s", key, state), func() bool {
		a = tn.attempt(in, key)
		return a.State == state
	})
	return a
}

func (tn *town) setFaults(steps map[simulator.Step]simulator.StepFaults) {
	tn.t.Helper()
	faults := simulator.Faults{
		Seed: 1, Steps: steps, HangMS: (callTimeout * 3 / 2).Milliseconds(),
	}
	if err := tn.processor.SetFaults(faults); err != nil {
		tn.t.Fatal(err)
	}
}
