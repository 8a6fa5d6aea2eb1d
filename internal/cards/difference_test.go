package cards

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

func usd(minor int64) ledger.Money { return ledger.Money{Minor: minor, Currency: "USD"} }

// Every pair of a payment's status and an intent's is compared.
func TestIntentIsComparedWithItsPayment(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	const (
		none, note = Kind(""), Kind("note")

		missing    = payments.Status("")
		processing = payments.StatusProcessing
		charged    = payments.StatusSucceeded
		held       = payments.StatusAuthorized
		declined   = payments.StatusDeclined
		canceled   = payments.StatusCanceled
	)
	for name, row := range map[string]struct {
		here     payments.Status
		captured int64         // here
		age      time.Duration // of an attempt that is not settled; 0: all are
		there    stripe.Status
		amount   int64 // received or held, there
		want     Kind
	}{
		"no payment, money taken": {missing, 0, 0, stripe.Succeeded, 100, KindNotHere},
		"no payment, money held":  {missing, 0, 0, stripe.RequiresCapture, 100, KindNotHere},
		"no payment, no money":    {missing, 0, 0, stripe.RequiresConfirmation, 0, none},
		"no payment, canceled":    {missing, 0, 0, stripe.Canceled, 0, none},

		"charged":              {charged, 100, 0, stripe.Succeeded, 100, none},
		"charged a part":       {charged, 60, 0, stripe.Succeeded, 60, none},
		"charged more":         {charged, 60, 0, stripe.Succeeded, 100, KindOtherAmount},
		"charged here only":    {charged, 100, 0, stripe.RequiresPaymentMethod, 0, KindNotThere},
		"canceled there":       {charged, 100, 0, stripe.Canceled, 0, KindNotThere},
		"other, charged":       {charged, 100, 0, stripe.Succeeded, 100, KindChargedTwice},
		"other, held":          {declined, 0, 0, stripe.RequiresCapture, 100, KindChargedTwice},
		"other, not confirmed": {charged, 100, 0, stripe.RequiresConfirmation, 0, none},

		"held":                 {held, 0, 0, stripe.RequiresCapture, 100, none},
		"another amount held":  {held, 0, 0, stripe.RequiresCapture, 50, KindOtherAmount},
		"held, captured there": {held, 0, 0, stripe.Succeeded, 100, KindCapturedThere},
		"held, canceled there": {held, 0, 0, stripe.Canceled, 0, KindCanceledThere},
		"held here only":       {held, 0, 0, stripe.RequiresConfirmation, 0, KindNotThere},

		"declined":             {declined, 0, 0, stripe.Canceled, 0, none},
		"declined and charged": {declined, 0, 0, stripe.Succeeded, 100, KindNotPaidHere},
		"declined and open":    {declined, 0, 0, stripe.RequiresPaymentMethod, 0, KindStillOpen},
		"canceled":             {canceled, 0, 0, stripe.Canceled, 0, none},
		"canceled and held":    {canceled, 0, 0, stripe.RequiresCapture, 100, KindNotPaidHere},

		"begun":         {processing, 0, time.Minute, stripe.Succeeded, 100, none},
		"open":          {processing, 0, time.Hour, stripe.Processing, 0, note},
		"open, charged": {processing, 0, time.Hour, stripe.Succeeded, 100, KindUnfinished},
		"capture open":  {held, 0, time.Hour, stripe.RequiresCapture, 100, note},
		"capture done":  {held, 0, time.Hour, stripe.Succeeded, 100, KindUnfinished},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			intent := &stripe.Intent{
				ID: "pi_1", Status: row.there, Amount: usd(100), AmountReceived: usd(row.amount),
				AmountCapturable: usd(row.amount),
			}
			var b *booked
			if row.here != "" {
				b = &booked{
					operation: operationCharge, paymentID: uuid.New(), intentID: "pi_1",
					status: row.here, amount: usd(100), captured: usd(row.captured),
				}
				if strings.HasPrefix(name, "other") {
					b.intentID = "pi_2"
				}
				if row.age > 0 {
					b.waitsSince = now.Add(-row.age)
				}
			}
			got := none
			if d := compareIntent(intent, b, now); d != nil {
				got = d.Kind
				if d.Note {
					got = note
				}
			}
			if got != row.want {
				t.Errorf("it is %q, not %q", got, row.want)
			}
		})
	}
}

func TestRefundIsComparedWithOurs(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	booking := func(state State, status payments.RefundStatus, age time.Duration) *booked {
		return &booked{
			state: state, refund: status, minor: 40, amount: usd(100), createdAt: now.Add(-age),
		}
	}
	for name, row := range map[string]struct {
		there  stripe.RefundStatus
		amount int64
		here   *booked
		want   Kind
	}{
		"both": {
			stripe.RefundSucceeded, 40,
			booking(StateSettled, payments.RefundSucceeded, 0), "",
		},
		"both declined": {
			stripe.RefundFailed, 40,
			booking(StateSettled, payments.RefundDeclined, 0), "",
		},
		"only there":     {stripe.RefundSucceeded, 40, nil, KindRefundNotHere},
		"failed, no row": {stripe.RefundFailed, 40, nil, ""},
		"failed later": {
			stripe.RefundFailed, 40,
			booking(StateSettled, payments.RefundSucceeded, 0), KindRefundStatus,
		},
		"declined, there": {
			stripe.RefundSucceeded, 40,
			booking(StateSettled, payments.RefundDeclined, 0), KindRefundStatus,
		},
		"another amount": {
			stripe.RefundSucceeded, 41,
			booking(StateSettled, payments.RefundSucceeded, 0), KindOtherAmount,
		},
		"just begun": {
			stripe.RefundSucceeded, 40,
			booking(StateOpen, payments.RefundProcessing, time.Minute), "",
		},
		"long in review": {
			stripe.RefundSucceeded, 40,
			booking(StateReview, payments.RefundProcessing, time.Hour), KindUnfinished,
		},
	} {
		var got Kind
		if d := compareRefund(&stripe.Refund{Status: row.there, Amount: usd(row.amount)}, row.here,
			now); d != nil {
			got = d.Kind
		}
		if got != row.want {
			t.Errorf("%s: it is %q, not %q", name, got, row.want)
		}
	}
}

// The rest of a partial capture is no refund elsewhere, and neither is one that a person
// has resolved as made.
func TestRefundedElsewhereIsWhatNobodyBooked(t *testing.T) {
	t.Parallel()
	ours := stripe.Owner{Installation: uuid.New(), MerchantID: 1, AttemptID: uuid.New()}
	refund := func(owner stripe.Owner, minor int64, status stripe.RefundStatus) stripe.Refund {
		return stripe.Refund{Owner: owner, Amount: usd(minor), Status: status}
	}
	by := func(minor int64) stripe.Refund {
		return refund(stripe.Owner{}, minor, stripe.RefundSucceeded)
	}
	for name, row := range map[string]struct {
		manual  bool
		refunds []stripe.Refund // the newest first
		booked  int64
		want    int64
	}{
		"none": {},
		"ours": {
			refunds: []stripe.Refund{refund(ours, 30, "succeeded")},
			booked:  30,
		},
		"a person's":         {refunds: []stripe.Refund{by(30)}, want: 30},
		"a person's, booked": {refunds: []stripe.Refund{by(30)}, booked: 30},
		"both": {refunds: []stripe.Refund{
			by(10),
			refund(ours, 30, "succeeded"),
		}, booked: 30, want: 10},
		"failed": {refunds: []stripe.Refund{refund(stripe.Owner{}, 30,
			"failed")}},
		"the rest of a capture": {manual: true, refunds: []stripe.Refund{by(40)}},
		"as much as the rest": {
			manual: true, refunds: []stripe.Refund{by(40), by(40)},
			want: 40,
		},
		"booked, but not there": {booked: 30, want: -30},
	} {
		intent := &stripe.Intent{Manual: row.manual, Amount: usd(100), AmountReceived: usd(60)}
		if got := refundedElsewhere(intent, row.refunds, row.booked); got != row.want {
			t.Errorf("%s: %d, not %d", name, got, row.want)
		}
	}
}
