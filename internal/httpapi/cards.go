package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// cardWaitMax is how long a request by HTTP waits for the card processor. Its caller may
// ask for a shorter wait. A request by message does not wait.
const cardWaitMax = 10 * time.Second

// execute runs a keyed operation. If the request is at the card processor, it waits.
func (a *api) execute(
	r *http.Request, do func() (payments.Reply, error),
) (payments.Reply, error) {
	reply, err := do()
	pending, ok := errors.AsType[*payments.InProgress](err)
	if !ok {
		return reply, err
	}
	requestOf(r).paymentID = pending.PaymentID
	if a.Cards == nil {
		return payments.Reply{}, pending.Refusal()
	}
	return a.Cards.Await(r.Context(), pending, a.cardWait(r.Header["Prefer"]), do)
}

// cardWait is how long the request waits: the preference wait of RFC 7240, in seconds, up
// to a maximum. A preference that cannot be read is ignored, as that RFC says.
func (a *api) cardWait(prefer []string) time.Duration {
	longest := min(a.cardWaitMax, a.RequestTimeout*2/3)
	for _, list := range prefer {
		for preference := range strings.SplitSeq(list, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			value, _, _ = strings.Cut(value, ";")
			seconds, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 31)
			if err == nil {
				return min(longest, time.Duration(seconds)*time.Second)
			}
		}
	}
	return longest
}

// cardsFull tells whether the charge is one by card, and too many are at the processor.
func (a *api) cardsFull(r *http.Request, charge *payments.Charge) bool {
	return charge.PaymentMethod != "" && a.Cards != nil &&
		a.Cards.Full(requestOf(r).identity.MerchantID)
}

// CardAttempts lists attempts that are not settled. It needs no card processor.
type CardAttempts func(context.Context, cards.Filter) ([]*cards.Attempt, error)

// cardAttemptsMax is how many attempts the answer has.
const cardAttemptsMax = 100

type cardAttemptJSON struct {
	ID        string  `json:"id"`
	Operation string  `json:"operation"`
	State     string  `json:"state"`
	RefundID  *string `json:"refund_id"` // null: it is no refund
	Tries     int     `json:"tries"`
	CreatedAt string  `json:"created_at"`
}

// listCardAttempts says what a payment waits for at the card processor. The processor's
// own words are for operators only.
func (a *api) listCardAttempts(w http.ResponseWriter, r *http.Request) error {
	id, err := paymentID(r)
	if err != nil {
		return err
	}
	payment, err := a.Payments.Get(r.Context(), requestOf(r).identity.MerchantID, id)
	if err != nil {
		return err
	}
	attempts, err := a.CardAttempts(r.Context(), cards.Filter{
		MerchantID: payment.MerchantID, PaymentID: payment.ID, Limit: cardAttemptsMax,
	})
	if err != nil {
		return err
	}
	list := struct {
		Data []cardAttemptJSON `json:"data"`
	}{make([]cardAttemptJSON, len(attempts))}
	for i, attempt := range attempts {
		list.Data[i] = cardAttemptJSON{
			ID: attempt.ID.String(), Operation: attempt.Operation,
			State: string(attempt.State), Tries: attempt.Tries,
			CreatedAt: attempt.CreatedAt.UTC().Format(payments.TimeFormat),
		}
		if attempt.RefundID != (uuid.UUID{}) {
			list.Data[i].RefundID = new(payments.FormatRefundID(attempt.RefundID))
		}
	}
	return writeJSON(w, http.StatusOK, list)
}
