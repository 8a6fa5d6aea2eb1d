package cards

import (
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
