package payments

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// An operator may cancel the first COMMIT's wait for the synchronous standby. Then the
// answer is visible, and no standby has it. So a replay waits for a COMMIT of its own.
func TestAReplayWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	s := newService(t, cluster.URL())
	merchant := newMerchant(t, s, map[string]int64{"a": 100, "b": 0})
	caller := callerWith(merchant, "k")
	request := sevenCents
	charge(t, s, merchant, "k", request)
	authorized := charge(t, s, merchant, "hold", sevenCentsHeld)
	capture := Capture{PaymentID: authorized.PaymentID}
	if _, err := s.Capture(t.Context(), callerWith(merchant, "capture"), capture); err != nil {
		t.Fatal(err)
	}

	standby := pgtest.NewStandby(t, cluster.AdminURL())
	for what, replay := range map[string]func() (Reply, error){
		"of a charge": func() (Reply, error) {
			return s.Charge(context.Background(), caller, request)
		},
		"of a capture": func() (Reply, error) {
			return s.Capture(context.Background(), callerWith(merchant, "capture"), capture)
		},
		"of a charge whose accounts are busy": func() (Reply, error) {
			defer lockInService(t, s, `SELECT FROM accounts FOR UPDATE`)()
			return s.Charge(context.Background(), caller, request)
		},
		"of a capture whose payment is busy": func() (Reply, error) {
			defer lockInService(t, s, `SELECT FROM payments FOR UPDATE`)()
			return s.Capture(context.Background(), callerWith(merchant, "capture"), capture)
		},
		"against a rule": func() (Reply, error) {
			return s.replayOrRefuse(context.Background(), newCharge(caller, request),
				errors.New("broken"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			comeBack := standby.Leave(t)
			replied := make(chan error, 1)
			go func() {
				_, err := replay()
				replied <- err
			}()
			await.Until(t, 10*time.Second, "the replay waits", func() bool {
				return standby.AwaitedBy(t) == 2 || len(replied) > 0
			})
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

// lockInService locks rows on a connection of the service, until release.
func lockInService(t *testing.T, s *Service, lock string) (release func()) {
	t.Helper()
	tx, err := s.pool.Begin(context.Background())
	if err != nil {
		t.Error(err)
		return func() {}
	}
	if _, err := tx.Exec(context.Background(), lock); err != nil {
		t.Error(err)
	}
	return func() { _ = tx.Rollback(context.Background()) } // closing would do as well
}

// A write without a key, and its repetition, are acknowledged only when a standby has
// them. Here every wait is cancelled, so each COMMIT succeeds with a WARNING.
func TestAccountIsAcknowledgedOnlyWithStandby(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	// No COMMIT waits unless its transaction asks for it.
	s := newService(t, cluster.URL()+"&synchronous_commit=off")
	merchant := newMerchant(t, s, map[string]int64{"a": 100, "b": 0, "closed": 0, "to-close": 0})
	paid := charge(t, s, merchant, "k", sevenCents)
	ref := func(id string) ledger.Ref { return ledger.Ref{MerchantID: merchant, AccountID: id} }
	closeAccount := func(ctx context.Context, id string) error {
		return accountsOf(s).Close(ctx, ref(id), ledger.Unconditional)
	}
	if err := closeAccount(t.Context(), "closed"); err != nil {
		t.Fatal(err)
	}
	put := func(ctx context.Context, id, name string) error {
		terms := ledger.Terms{Currency: "USD", Name: name, Metadata: map[string]string{}}
		_, _, err := accountsOf(s).Put(ctx, ref(id), terms, ledger.Unconditional)
		return err
	}
	edit := func(ctx context.Context, description string) error {
		payment, err := s.Get(ctx, merchant, paid.PaymentID)
		if err != nil {
			return err
		}
		_, err = s.Edit(ctx, merchant, payment.ID, ledger.IfVersion(payment.Version),
			Patch{Description: &description})
		return err
	}

	standby := pgtest.NewStandby(t, cluster.AdminURL())
	for what, write := range map[string]func(context.Context) error{
		"a new account": func(ctx context.Context) error {
			return put(ctx, "new", "new")
		},
		"an account's terms": func(ctx context.Context) error {
			return put(ctx, "b", "renamed")
		},
		"terms that are there": func(ctx context.Context) error {
			return put(ctx, "a", "")
		},
		"the end of an account": func(ctx context.Context) error {
			return closeAccount(ctx, "to-close")
		},
		"the end that it has had": func(ctx context.Context) error {
			return closeAccount(ctx, "closed")
		},
		"a payment's text": func(ctx context.Context) error {
			return edit(ctx, "edited")
		},
		"a text that is there already": func(ctx context.Context) error { return edit(ctx, "") },
	} {
		t.Run(what, func(t *testing.T) {
			comeBack := standby.Leave(t)
			written := make(chan error, 1)
			go func() { written <- write(context.Background()) }()
			await.Until(t, 10*time.Second, "the write is answered", func() bool {
				standby.CancelWaits(t)
				return len(written) > 0
			})
			if err := <-written; !errors.Is(err, postgres.ErrNotConfirmed) {
				t.Errorf("while no standby has it: %v, want %v", err, postgres.ErrNotConfirmed)
			}
			comeBack()
			if err := write(context.Background()); err != nil {
				t.Errorf("the same again, with the standby: %v", err)
			}
		})
	}
}
