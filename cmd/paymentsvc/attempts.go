package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// attemptsCommand is paymentsvc attempts: the calls to the card processor that are not
// settled, and those that a person has to decide.
type attemptsCommand struct {
	List    attemptsListCommand    `cmd:"" help:"${attempts_list}"`
	Show    attemptsShowCommand    `cmd:"" help:"${attempts_show}"`
	Resolve attemptsResolveCommand `cmd:"" help:"${attempts_resolve}"`
}

// attemptJSON is an attempt with all its fields.
type attemptJSON struct {
	AttemptID     string  `json:"attempt_id"`
	MerchantID    string  `json:"merchant_id"`
	Operation     string  `json:"operation"`
	State         string  `json:"state"`
	PaymentID     string  `json:"payment_id"`
	RefundID      *string `json:"refund_id"`
	Amount        int64   `json:"amount"`
	Currency      string  `json:"currency"`
	PaymentMethod string  `json:"payment_method"`
	IntentID      *string `json:"intent_id"` // null: it is not known yet
	DeclineCode   *string `json:"decline_code"`
	Problem       string  `json:"problem"` // why the last try did not end it
	Tries         int     `json:"tries"`
	Generation    int     `json:"generation"`
	Token         int64   `json:"token"`
	DueAt         string  `json:"due_at"`
	CreatedAt     string  `json:"created_at"`
}

func viewAttempt(a *cards.Attempt) attemptJSON {
	view := attemptJSON{
		AttemptID:     a.ID.String(),
		MerchantID:    strconv.FormatInt(a.MerchantID, 10),
		Operation:     a.Operation,
		State:         string(a.State),
		PaymentID:     payments.FormatID(a.PaymentID),
		Amount:        a.Amount.Minor,
		Currency:      string(a.Amount.Currency),
		PaymentMethod: a.PaymentMethod,
		IntentID:      textOrNull(a.IntentID),
		DeclineCode:   textOrNull(a.DeclineCode),
		Problem:       a.Problem,
		Tries:         a.Tries,
		Generation:    a.Generation,
		Token:         a.Token,
		DueAt:         formatTime(a.DueAt),
		CreatedAt:     formatTime(a.CreatedAt),
	}
	if a.RefundID != (uuid.UUID{}) {
		view.RefundID = textOrNull(payments.FormatRefundID(a.RefundID))
	}
	return view
}

func textOrNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

type attemptsListCommand struct {
	databaseFlags
	Merchant int64  `help:"Only those of this merchant." placeholder:"ID"`
	Payment  string `help:"Only those of this payment." placeholder:"ID"`

	State string `help:"open or review." enum:"open,review," default:""`
	Limit int    `help:"Most attempts to print." default:"100"`
}

// Run lists the attempts.
func (c *attemptsListCommand) Run(ctx context.Context, term terminal) error {
	filter := cards.Filter{MerchantID: c.Merchant, State: cards.State(c.State), Limit: c.Limit}
	if c.Payment != "" {
		id, err := payments.ParseID(c.Payment)
		if err != nil {
			return fmt.Errorf("payment %q: %w", c.Payment, err)
		}
		filter.PaymentID = id
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		attempts, err := cards.Unsettled(ctx, pool, filter)
		if err != nil {
			return err
		}
		list := struct {
			Data []attemptJSON `json:"data"`
		}{make([]attemptJSON, len(attempts))}
		for i, a := range attempts {
			list.Data[i] = viewAttempt(a)
		}
		return printJSON(term, list)
	})
}

// attemptFlags name one attempt.
type attemptFlags struct {
	processorFlags
	ID uuid.UUID `arg:"" help:"The attempt's id, as attempts list prints it." placeholder:"ID"`
}

func (f *attemptFlags) find(ctx context.Context, in *app.Instance) (*cards.Attempt, error) {
	a, err := cards.Find(ctx, in.Pools.General, f.ID)
	if err != nil {
		return nil, fmt.Errorf("attempt %s: %w", f.ID, err)
	}
	return a, nil
}

type attemptsShowCommand struct{ attemptFlags }

// intentJSON is an intent as the processor describes it.
type intentJSON struct {
	Status         string  `json:"status"`
	Amount         int64   `json:"amount"`
	AmountReceived int64   `json:"amount_received"`
	AmountHeld     int64   `json:"amount_held"`
	Currency       string  `json:"currency"`
	DeclineCode    *string `json:"decline_code"`
	Disputed       bool    `json:"disputed"`
	CreatedAt      string  `json:"created_at"`
}

// refundJSON is a refund as the processor describes it.
type refundJSON struct {
	RefundID  string  `json:"refund_id"`  // the processor's
	AttemptID *string `json:"attempt_id"` // null: it was made without us
	Amount    int64   `json:"amount"`
	Status    string  `json:"status"`
	CreatedAt string  `json:"created_at"`
}

// processorJSON is the processor's view of an attempt.
type processorJSON struct {
	Intent  *intentJSON  `json:"intent"`
	Refunds []refundJSON `json:"refunds"`
	Error   *string      `json:"error"` // why the view is not known
}

// Run shows the attempt and the processor's view of it.
func (c *attemptsShowCommand) Run(ctx context.Context, term terminal) error {
	return c.withCards(ctx, term, time.Hour, func(in *app.Instance) error {
		a, err := c.find(ctx, in)
		if err != nil {
			return err
		}
		return printJSON(term, struct {
			attemptJSON `json:",inline"`
			Processor   processorJSON `json:"processor"`
		}{viewAttempt(a), viewProcessor(in.Cards.Look(ctx, a))})
	})
}

func viewProcessor(intent *stripe.Intent, refunds []stripe.Refund, err error) processorJSON {
	view := processorJSON{Refunds: make([]refundJSON, len(refunds))}
	if err != nil {
		view.Error = textOrNull(err.Error())
	}
	if intent != nil {
		view.Intent = &intentJSON{
			Status: string(intent.Status), Amount: intent.Amount.Minor,
			AmountReceived: intent.AmountReceived.Minor, AmountHeld: intent.AmountCapturable.Minor,
			Currency: string(intent.Amount.Currency), DeclineCode: textOrNull(intent.DeclineCode),
			Disputed: intent.Disputed, CreatedAt: formatTime(intent.CreatedAt),
		}
	}
	for i, refund := range refunds {
		view.Refunds[i] = refundJSON{
			RefundID: refund.ID, Amount: refund.Amount.Minor, Status: string(refund.Status),
			CreatedAt: formatTime(refund.CreatedAt),
		}
		if refund.AttemptID != (uuid.UUID{}) {
			view.Refunds[i].AttemptID = textOrNull(refund.AttemptID.String())
		}
	}
	return view
}

type attemptsResolveCommand struct {
	attemptFlags
	AuthorizationLifetime string `help:"${lifetime}" env:"AUTHORIZATION_LIFETIME" default:"168h"`

	Retry       bool `help:"${resolve_retry}" xor:"decision" required:""`
	Declined    bool `help:"${resolve_declined}" xor:"decision" required:""`
	Captured    bool `help:"${resolve_captured}" xor:"decision" required:""`
	Refunded    bool `help:"${resolve_refunded}" xor:"decision" required:""`
	NotRefunded bool `help:"${resolve_not}" xor:"decision" required:""`
}

func (c *attemptsResolveCommand) decision() cards.Decision {
	switch {
	case c.Retry:
		return cards.DecideRetry
	case c.Declined:
		return cards.DecideDeclined
	case c.Captured:
		return cards.DecideCaptured
	case c.Refunded:
		return cards.DecideRefunded
	}
	return cards.DecideNotRefunded
}

// Run carries out the decision, and prints what the attempt has come to.
func (c *attemptsResolveCommand) Run(ctx context.Context, term terminal) error {
	authorizedFor, err := time.ParseDuration(c.AuthorizationLifetime)
	if err != nil || authorizedFor <= 0 {
		return errors.New(`AUTHORIZATION_LIFETIME is not a duration such as "168h"`)
	}
	return c.withCards(ctx, term, authorizedFor, func(in *app.Instance) error {
		a, err := c.find(ctx, in)
		if err != nil {
			return err
		}
		a, err = in.Cards.Resolve(ctx, a.MerchantID, a.ID, c.decision())
		switch {
		case errors.Is(err, cards.ErrLeased):
			return fmt.Errorf(
				"attempt %s: %w, until %s at the latest: try again then, or stop the "+
					"instances", c.ID, err, formatTime(a.DueAt))
		case err != nil:
			return fmt.Errorf("attempt %s: %w", c.ID, err)
		}
		return printOutcome(ctx, term, in, a)
	})
}

// printOutcome prints an attempt with what its payment, and its refund, have come to.
func printOutcome(
	ctx context.Context, term terminal, in *app.Instance, a *cards.Attempt,
) error {
	payment, err := in.Payments.Get(ctx, a.MerchantID, a.PaymentID)
	if err != nil {
		return err
	}
	var refundStatus *string
	if a.RefundID != (uuid.UUID{}) {
		refund, err := in.Payments.GetRefund(ctx, a.MerchantID, a.PaymentID, a.RefundID)
		if err != nil {
			return err
		}
		refundStatus = textOrNull(string(refund.Status))
	}
	return printJSON(term, struct {
		attemptJSON   `json:",inline"`
		PaymentStatus string  `json:"payment_status"`
		RefundStatus  *string `json:"refund_status"`
	}{viewAttempt(a), string(payment.Status), refundStatus})
}
