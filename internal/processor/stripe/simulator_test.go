package stripe_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// world is a simulator, a client of it, and the events that it sends.
type world struct {
	*stripe.Client
	t      *testing.T
	mu     sync.Mutex
	events []stripe.Event
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t}
	inbox := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		event, err := w.ReadEvent(body, r.Header.Get("Stripe-Signature"), time.Now())
		if err != nil {
			t.Errorf("an event was refused: %v: %s", err, body)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, event)
	}))
	t.Cleanup(inbox.Close)
	processor, err := simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"), WebhookURL: inbox.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = processor.Close() })
	w.Client = stripe.New(stripe.Config{
		SecretKey: simulator.DefaultSecret, BaseURL: processor.URL(),
		WebhookSecrets: []string{"whsec_next", simulator.DefaultWebhookSecret},
	})
	return w
}

// begin makes an intent of owner over usd.
func (w *world) begin(paymentMethod string, manual bool) (intentID string) {
	w.t.Helper()
	intent, err := w.CreateIntent(w.t.Context(), "prepare "+paymentMethod, stripe.NewIntent{
		Owner: owner, Amount: usd, PaymentMethod: paymentMethod, Manual: manual,
	})
	if err != nil || intent.Status != stripe.RequiresConfirmation {
		w.t.Fatalf("got %+v, %v", intent, err)
	}
	return intent.ID
}

func (w *world) awaitEvent(kind string, about func(stripe.Event) bool) {
	w.t.Helper()
	await.Until(w.t, 30*time.Second, "the event "+kind, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, event := range w.events {
			if event.Type == kind && about(event) {
				return true
			}
		}
		return false
	})
}

// only is the one element of a list of today.
func only[T any](
	w *world, list func(context.Context, time.Time, time.Time) iter.Seq2[T, error],
) (one T) {
	w.t.Helper()
	n := 0
	now := time.Now()
	for each, err := range list(w.t.Context(), now.Add(-time.Hour), now.Add(time.Hour)) {
		if err != nil {
			w.t.Fatal(err)
		}
		one = each
		n++
	}
	if n != 1 {
		w.t.Fatalf("the list has %d elements, want 1", n)
	}
	return one
}

func TestChargeAndRefundAtSimulator(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.begin("pm_card_createDispute", false)
	intent, err := w.Confirm(ctx, "confirm", id)
	if err != nil || intent.Status != stripe.Succeeded || intent.AmountReceived != usd {
		t.Fatalf("got %+v, %v", intent, err)
	}
	w.awaitEvent("payment_intent.succeeded", func(e stripe.Event) bool {
		return e.IntentID == id && e.Intent != nil && e.Intent.Owner == owner
	})
	part := ledger.Money{Minor: 1000, Currency: "USD"}
	refund, err := w.Refund(ctx, "refund", id, part, owner)
	if err != nil || refund.Status != stripe.RefundSucceeded {
		t.Fatalf("got %+v, %v", refund, err)
	}
	again, err := w.Refund(ctx, "refund", id, part, owner)
	if err != nil || again.ID != refund.ID {
		t.Errorf("the same key made another refund: %+v, %v", again, err)
	}
	w.awaitEvent("refund.created", func(e stripe.Event) bool {
		return e.IntentID == id && e.Refund != nil && e.Refund.ID == refund.ID
	})
	w.awaitEvent("charge.dispute.created", func(e stripe.Event) bool { return e.IntentID == id })

	refunds, err := w.Refunds(ctx, id)
	if err != nil || len(refunds) != 1 || refunds[0] != refund {
		t.Errorf("got %+v, %v; want %+v", refunds, err, refund)
	}
	if got := only(w, w.AllRefunds); got != refund {
		t.Errorf("got %+v, want %+v", got, refund)
	}
	if got := only(w, w.Disputes); got.IntentID != id || got.Amount != usd {
		t.Errorf("got %+v", got)
	}
	read, err := w.Retrieve(ctx, id)
	if err != nil || !read.Disputed {
		t.Errorf("got %+v, %v", read, err)
	}
	if got := only(w, w.Intents); got != read {
		t.Errorf("got %+v, want %+v", got, read)
	}
}

func TestAuthorizeAndCaptureAtSimulator(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.begin("pm_card_visa", true)
	held, err := w.Confirm(ctx, "confirm", id)
	if err != nil || held.Status != stripe.RequiresCapture || held.AmountCapturable != usd {
		t.Fatalf("got %+v, %v", held, err)
	}
	part := ledger.Money{Minor: 1000, Currency: "USD"}
	taken, err := w.Capture(ctx, "capture", id, part)
	if err != nil || taken.Status != stripe.Succeeded || taken.AmountReceived != part {
		t.Fatalf("got %+v, %v", taken, err)
	}
	_, err = w.Cancel(ctx, "cancel", id)
	e, _ := errors.AsType[*stripe.Error](err)
	if e == nil || e.Outcome != stripe.NotDone || e.Code != "payment_intent_unexpected_state" ||
		e.Intent == nil || e.Intent.Status != stripe.Succeeded {
		t.Errorf("a taken payment was canceled: %v", err)
	}
}

func TestDeclineAndCancelAtSimulator(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	id := w.begin("pm_card_chargeDeclinedInsufficientFunds", false)
	_, err := w.Confirm(ctx, "confirm", id)
	e, _ := errors.AsType[*stripe.Error](err)
	if e == nil || e.Outcome != stripe.NotDone ||
		e.DeclineCode != stripe.DeclineInsufficientFunds || e.Intent == nil ||
		e.Intent.Status != stripe.RequiresPaymentMethod ||
		e.Intent.DeclineCode != stripe.DeclineInsufficientFunds {
		t.Fatalf("got %#v", err)
	}
	if _, err = w.Confirm(ctx, "confirm", id); !replayed(err) {
		t.Errorf("the stored decline is not told as replayed: %v", err)
	}
	canceled, err := w.Cancel(ctx, "cancel", id)
	if err != nil || canceled.Status != stripe.Canceled {
		t.Errorf("got %+v, %v", canceled, err)
	}
	_, err = w.Cancel(ctx, "confirm", id)
	wantUnknown(t, err, stripe.CodeIdempotency)
	_, err = w.Retrieve(ctx, "pi_missing")
	if e, _ := errors.AsType[*stripe.Error](err); e == nil || e.Code != "resource_missing" {
		t.Errorf("got %v", err)
	}
}

func replayed(err error) bool {
	e, _ := errors.AsType[*stripe.Error](err)
	return e != nil && e.Replayed
}

// TestFaultsOfSimulatorAreUnknown has answers that are lost or damaged after a charge.
func TestFaultsOfSimulatorAreUnknown(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	for method, want := range map[string]stripe.Status{
		"pm_sim_500_after_charge":    stripe.Succeeded,
		"pm_sim_500_before_charge":   stripe.RequiresConfirmation,
		"pm_sim_reset_after_charge":  stripe.Succeeded,
		"pm_sim_reset_before_charge": stripe.RequiresConfirmation,
		"pm_sim_garbage":             stripe.Succeeded,
		"pm_sim_10mb":                stripe.Succeeded,
		"pm_sim_429":                 stripe.RequiresConfirmation,
		"pm_sim_409":                 stripe.RequiresConfirmation,
	} {
		id := w.begin(method, false)
		_, err := w.Confirm(ctx, "confirm "+method, id)
		if stripe.OutcomeOf(err) != stripe.Unknown {
			t.Errorf("%s: got %v, want an unknown outcome", method, err)
		}
		if got, err := w.Retrieve(ctx, id); err != nil || got.Status != want {
			t.Errorf("%s: got %s, %v; want %s", method, got.Status, err, want)
		}
	}
}
