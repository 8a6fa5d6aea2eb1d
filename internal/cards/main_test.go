package cards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
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
			ledger.Terms{Currency: "USD", Metadata: map[string]string{}, OverdraftLimit: new(int64)},
			ledger.Unconditional); err != nil {
			tn.t.Fatal(err)
		}
	}
	tn.t.Cleanup(func() {
		tn.wantSameBooks()
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
			Hang: 2 * callTimeout, Processing: 300 * time.Millisecond,
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
const callTimeout = 700 * time.Millisecond

// instance is one of the service. It recovers nothing by itself: see recovering.
type instance struct {
	*Service
	t     *testing.T
	pools *postgres.Pools
}

// config is what tests change of an instance.
type config struct {
	Settings
	url          string // of the database
	generalSize  int    // connections
	authorizedMS int    // how long an authorization lasts
}

func (tn *town) instance(edits ...func(*config)) *instance {
	tn.t.Helper()
	c := config{
		Settings: Settings{
			SecretKey: simulator.DefaultSecret, URL: tn.processor.URL(), Timeout: callTimeout,
			ResendWindow: time.Hour,
		},
		url: tn.db.URL, generalSize: 4, authorizedMS: 3_600_000,
	}
	for _, edit := range edits {
		edit(&c)
	}
	pools, err := postgres.Open(tn.t.Context(), postgres.Options{
		URL: c.url, GeneralSize: c.generalSize, MoneySize: 2,
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&tn.log, nil))
	engine := payments.New(payments.Config{
		Pools: pools, Retention: time.Hour,
		AuthorizationLifetime: time.Duration(c.authorizedMS) * time.Millisecond,
		AttemptLease:          LeaseTime(c.Timeout),
		Workers:               2, BatchSizeMax: 512, QueueSizeMax: 10_000, Timeout: 10 * time.Second,
		Logger:    logger,
		CheckCard: func(m ledger.Money) error { return stripe.CheckAmount(m) },
	})
	s, err := New(tn.t.Context(), Config{
		Pool: pools.General, Payments: engine, Settings: c.Settings, Logger: logger,
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
			if _, err := in.payments.ExpireAuthorizations(ctx, 100); err != nil && ctx.Err() == nil {
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

// request is one keyed request, which may be sent again.
type request func(*instance, payments.Caller) (payments.Reply, error)

func usd(minor int64) ledger.Money { return ledger.Money{Minor: minor, Currency: "USD"} }

// byCard is a charge of 10.00 by the payment method.
func byCard(method string) payments.Charge {
	return payments.Charge{Amount: usd(1000), PaymentMethod: method, DestinationAccount: "shop"}
}

func charging(c payments.Charge) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Charge(in.t.Context(), caller, c)
	}
}

func authorizing(method string) request {
	c := byCard(method)
	c.AuthorizeOnly = true
	return charging(c)
}

func capturing(paymentID uuid.UUID, minor int64) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Capture(in.t.Context(), caller,
			payments.Capture{PaymentID: paymentID, Amount: &minor})
	}
}

func canceling(paymentID uuid.UUID) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Cancel(in.t.Context(), caller, paymentID)
	}
}

func refunding(paymentID uuid.UUID, minor int64) request {
	return func(in *instance, caller payments.Caller) (payments.Reply, error) {
		return in.payments.Refund(in.t.Context(), caller,
			payments.RefundRequest{PaymentID: paymentID, Amount: &minor})
	}
}

func callerWith(key string) payments.Caller {
	return payments.Caller{
		Key: idempotency.Key{
			MerchantID: merchantID, Scope: idempotency.ScopeClient, Value: key,
		},
		RequestID: uuid.Must(uuid.NewV7()),
	}
}

// send does what the API does with a request: it waits for the processor, up to a limit.
func (in *instance) send(key string, r request, limit time.Duration) (payments.Reply, error) {
	caller := callerWith(key)
	do := func() (payments.Reply, error) { return r(in, caller) }
	reply, err := do()
	if pending, ok := errors.AsType[*payments.InProgress](err); ok {
		return in.Await(in.t.Context(), pending, limit, do)
	}
	return reply, err
}

// begin sends a request that dies with its instance before the processor is asked.
func (in *instance) begin(key string, r request) *payments.InProgress {
	in.t.Helper()
	_, err := r(in, callerWith(key))
	pending, ok := errors.AsType[*payments.InProgress](err)
	if !ok {
		in.t.Fatalf("%s is not in progress: %v", key, err)
	}
	return pending
}

// finish repeats a request until it has its answer.
func (in *instance) finish(key string, r request) payments.Reply {
	in.t.Helper()
	var reply payments.Reply
	await.Until(in.t, patience, "the answer to "+key, func() bool {
		var err error
		reply, err = in.send(key, r, time.Second)
		if inProgress(err) || errors.Is(err, payments.ErrOutcomeUnknown) {
			return false
		}
		if err != nil {
			in.t.Fatalf("%s: %v", key, err)
		}
		return true
	})
	return reply
}

// want sends a request until it has its answer, and compares its status.
func (in *instance) want(status int, key string, r request) payments.Reply {
	in.t.Helper()
	reply := in.finish(key, r)
	if reply.Status != status {
		in.t.Errorf("%s: %d %s, want %d", key, reply.Status, reply.Body, status)
	}
	return reply
}

func inProgress(err error) bool {
	refusal, ok := errors.AsType[*payments.Refusal](err)
	return ok && refusal.Code == payments.CodeKeyInProgress
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
		Seed: 1, Steps: steps, HangMS: (2 * callTimeout).Milliseconds(),
	}
	if err := tn.processor.SetFaults(faults); err != nil {
		tn.t.Fatal(err)
	}
}
