package cards

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// A person has changed the payment at the processor's dashboard. The attempt is settled
// where our books allow it. Otherwise a person has to decide, and no call is repeated.
func TestChangeAtTheDashboardIsFollowedOrReviewed(t *testing.T) {
	for name, row := range map[string]struct {
		page   string
		change func(uuid.UUID) request
		state  State
		status int
	}{
		"canceled, then canceled": {"cancels", canceling, StateSettled, 200},
		"canceled, then captured": {"cancels", capturingPart, StateSettled, 402},
		"captured, then canceled": {"captures", canceling, StateReview, 0},
		"captured, then captured": {"captures", capturingPart, StateReview, 0}, // another amount
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t)
			in := tn.instance()
			id := in.want(201, "hold", authorizing("pm_card_visa")).PaymentID
			tn.press(row.page, fmt.Sprintf(`{"payment_intent": %q}`, tn.intentOf(in, "hold").ID))
			change := row.change(id)
			_, err := in.send("k", change, 0)
			if err != nil && !inProgress(err) {
				t.Fatal(err)
			}
			a := tn.awaitState(in, "k", row.state)
			if row.state == StateSettled {
				in.want(row.status, "k", change)
				return
			}
			tn.makeDue()
			if err := in.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			if again := tn.attempt(in, "k"); again.Token != a.Token || again.Problem == "" {
				t.Errorf("after the review: %+v", again)
			}
			_, err = in.send("k", change, 0)
			wantRefusal(t, err, payments.CodeKeyInProgress)
		})
	}
}

func capturingPart(id uuid.UUID) request { return capturing(id, 400) }

// press acts at the processor's dashboard.
func (tn *town) press(page, body string) {
	tn.t.Helper()
	request, err := http.NewRequestWithContext(tn.t.Context(), http.MethodPost,
		tn.processor.URL()+"/dashboard/"+page, strings.NewReader(body))
	if err != nil {
		tn.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		tn.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		tn.t.Fatalf("%s: %s", page, response.Status)
	}
}

// All that was refunded at the dashboard cannot be refunded again.
func TestRefundBeyondTheProcessorsRestIsDeclined(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	id := in.want(201, "k", charging(byCard("pm_card_visa"))).PaymentID
	tn.press("refunds", fmt.Sprintf(`{"payment_intent": %q, "amount": 800}`,
		tn.intentOf(in, "k").ID))
	in.want(402, "back", refunding(id, 300))
	tn.dashboard = true
}

// The service waits for a pending refund. A failed refund frees its amount.
func TestRefundEndsAsTheProcessorSays(t *testing.T) {
	for method, status := range map[string]int{
		"pm_card_visa": 201, "pm_card_pendingRefund": 201,
	} {
		t.Run(method, func(t *testing.T) {
			tn := newTown(t)
			in := tn.instance().recovering()
			id := in.want(201, "k", charging(byCard(method))).PaymentID
			in.want(status, "part", refunding(id, 300))
			in.want(status, "rest", refunding(id, 700))
			_, err := in.send("more", refunding(id, 1), patience)
			refusal, ok := err.(*payments.Refusal) //nolint:errorlint // never wrapped
			if !ok || refusal.Code != payments.CodeAmountTooLarge {
				t.Errorf("a refund of more than the charge: %v", err)
			}
		})
	}
}

// A capture cannot be undone. So a person can let our books follow one that was made at the
// dashboard, whatever the attempt was to do.
func TestCaptureAtTheDashboardCanBeFollowed(t *testing.T) {
	for name, row := range map[string]struct {
		change func(uuid.UUID) request
		status int
	}{
		"then canceled": {canceling, 200}, // with a payment that is succeeded
		"then captured": {capturingPart, 200},
		"then expired":  {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t)
			in := tn.instance(func(c *config) {
				if row.change == nil {
					c.authorizedMS = 1
				}
			})
			id := in.want(201, "hold", authorizing("pm_card_visa")).PaymentID
			tn.press("captures", fmt.Sprintf(`{"payment_intent": %q}`, tn.intentOf(in, "hold").ID))
			key := "expire:" + payments.FormatID(id)
			if row.change != nil {
				key = "k"
				if _, err := in.send(key, row.change(id), 0); err != nil && !inProgress(err) {
					t.Fatal(err)
				}
			} else if n, err := in.payments.ExpireAuthorizations(t.Context(), 1); n != 1 {
				t.Fatalf("%d expire, %v", n, err)
			}
			in.recovering()
			reviewed := tn.awaitState(in, key, StateReview)
			a, err := in.Resolve(t.Context(), merchantID, reviewed.ID, DecideCaptured)
			if err != nil || a.State != StateSettled {
				t.Errorf("it is %+v, %v", a, err)
			}
			payment, err := in.payments.Get(t.Context(), merchantID, id)
			if err != nil || payment.Status != payments.StatusSucceeded ||
				payment.AmountCaptured != 1000 || payment.PendingOperation != "" {
				t.Errorf("the payment is %+v, %v", payment, err)
			}
			if row.change != nil {
				in.want(row.status, key, row.change(id))
			}
		})
	}
}

// A person cannot settle a capture that the processor has not made.
func TestCaptureThatWasNotMadeIsNotFollowed(t *testing.T) {
	tn := newTown(t)
	in := tn.instance()
	id := in.want(201, "hold", authorizing("pm_card_visa")).PaymentID
	pending := in.begin("k", canceling(id))
	tn.makeDue()
	_, err := in.Resolve(t.Context(), merchantID, pending.AttemptID, DecideCaptured)
	if !errors.Is(err, ErrContradicted) {
		t.Errorf("it came to %v, want %v", err, ErrContradicted)
	}
	tn.awaitState(in, "k", StateReview)
	if _, err := in.Resolve(t.Context(), merchantID, pending.AttemptID, DecideRetry); err != nil {
		t.Error(err)
	}
	in.recovering()
	in.want(200, "k", canceling(id))
}
