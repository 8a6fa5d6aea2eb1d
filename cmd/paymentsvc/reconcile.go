package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// reconcileCommand is paymentsvc reconcile.
type reconcileCommand struct {
	processorFlags
	Since string `help:"${since}" default:"${reach}" placeholder:"TIME"`
	Until string `help:"${until}" default:"0s" placeholder:"TIME"`
}

// Help is the long part of --help.
func (c *reconcileCommand) Help() string {
	return `It compares the processor's payments, refunds and disputes of a period with ours, both
ways, and changes nothing. Each difference is a row that says what to do. An attempt that is
not settled after two minutes is a row, too. A row with (note) is no difference.

The default reaches back 25 h. The processor knows a key for 24 h, and for that time a retry
finds a charge that a restored backup has lost. After a restore, begin at the time of the
backup. Payments are selected by the time of their charge or authorization. So run it weekly
with --since 200h: the longer run sees a capture or cancellation in the dashboard that came
days after the authorization. Refunds and disputes are selected by their own time.`
}

// Run compares, and prints each row as it is found.
func (c *reconcileCommand) Run(ctx context.Context, term terminal) error {
	now := time.Now()
	since, errSince := timeOrAge("--since", c.Since, now)
	until, errUntil := timeOrAge("--until", c.Until, now)
	switch {
	case errSince != nil:
		return errSince
	case errUntil != nil:
		return errUntil
	case !since.Before(until):
		return fmt.Errorf("--since %s is not before --until %s", c.Since, c.Until)
	}
	return c.withCards(ctx, term, time.Hour, func(in *app.Instance) error {
		progress := newCounter(term.err)
		n, err := in.Cards.Reconcile(ctx, cards.Comparison{
			Since: since, Until: until,
			Report: func(d cards.Difference) {
				progress.clear()
				_, _ = io.WriteString(term.out, row(&d))
			},
			Progress: progress.show,
		})
		progress.clear()
		if err != nil {
			return fmt.Errorf("the comparison is not complete: %w", err)
		}
		compared := fmt.Sprintf("from %s to %s", formatTime(since), formatTime(until))
		if n == 0 {
			_, err := fmt.Fprintf(term.out, "the processor's books agree with ours, %s\n",
				compared)
			return err
		}
		_, err = fmt.Fprintf(term.out, "%d differences, %s\n", n, compared)
		if err != nil {
			return err
		}
		return errFound
	})
}

// timeOrAge reads a time, or how long ago it was.
func timeOrAge(flag, text string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%s: %q is neither a time such as 2026-11-28T09:30:00Z nor an age "+
			"such as 25h", flag, text)
	}
	return at, nil
}

// row is a difference for a person: what differs, and what to do.
func row(d *cards.Difference) string {
	words := []string{string(d.Kind), fmt.Sprint("merchant ", d.MerchantID)}
	if d.Note {
		words[0] += " (note)"
	}
	if d.PaymentID != (uuid.UUID{}) {
		words = append(words, payments.FormatID(d.PaymentID))
	}
	for _, id := range []string{d.IntentID, d.OtherID} {
		if id != "" {
			words = append(words, id)
		}
	}
	return fmt.Sprintf("%s, attempt %s\n  %s\n  To do: %s\n",
		strings.Join(words, ", "), d.AttemptID, d.Detail, d.Remedy)
}

// counter shows how far a command is, on a terminal.
type counter struct{ out io.Writer }

func newCounter(out io.Writer) counter {
	if file, ok := out.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return counter{file}
		}
	}
	return counter{io.Discard}
}

const clearLine = "\r\x1b[K"

func (c counter) show(n int) { _, _ = fmt.Fprintf(c.out, clearLine+"%d compared", n) }

func (c counter) clear() { _, _ = io.WriteString(c.out, clearLine) }
