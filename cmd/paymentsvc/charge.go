package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
)

// retriesMax is high, because the time limit alone ends a charge from a shell.
const retriesMax = 100_000

// chargeCommand is paymentsvc charge: one charge from a shell, through the Go client.
type chargeCommand struct {
	Amount        int64       `help:"In the currency's minor unit: 4999 is 49.99 USD." required:""`
	Currency      string      `help:"Such as USD." required:""`
	From          string      `help:"The account that pays." required:"" placeholder:"ACCOUNT"`
	To            string      `help:"The account that is paid." required:"" placeholder:"ACCOUNT"`
	Key           *client.Key `help:"${key}"`
	Reference     *string     `help:"${reference}"`
	Description   string      `help:"Text for people."`
	AuthorizeOnly bool        `help:"Hold the money, to be captured later."`

	URL string `help:"${url}" env:"PAYMENTSVC_URL" default:"http://127.0.0.1:8080"`

	AllowPlaintext bool          `help:"Send the API key over http:// to another machine."`
	Timeout        time.Duration `help:"How long to go on trying." default:"1m"`
}

// Help is the long part of --help.
func (c *chargeCommand) Help() string {
	return `The API key is read from the environment variable API_KEY. Every user of a machine can
see its command lines.

The idempotency key is printed before anything is sent. From then on the same command with
--key KEY is safe: it makes no second payment.

Exit codes:

  0 charged or held, now or by an earlier try
  1 declined, refused or never sent; the message says which, and what the key is good for
  2 wrong arguments
  3 unknown: the charge may have happened or may yet happen; try again with the same key`
}

// Validate refuses an empty key or reference. A script passes one if its variable is
// unset, and each run of it would then charge again.
func (c *chargeCommand) Validate() error {
	if c.Key != nil && *c.Key == "" {
		return errors.New("--key is empty: give the key of an earlier try, or leave --key out")
	}
	return checkReference(c.Reference)
}

func checkReference(reference *string) error {
	if reference != nil && *reference == "" {
		return errors.New("--reference is empty: give the name of a purchase, or leave it out")
	}
	return nil
}

// Run charges.
func (c *chargeCommand) Run(ctx context.Context, term terminal) error {
	say := func(format string, args ...any) error {
		_, err := fmt.Fprintf(term.err, "paymentsvc: "+format+"\n", args...)
		return err
	}
	payments, err := client.New(client.Options{
		URL:            c.URL,
		APIKey:         os.Getenv("API_KEY"),
		AllowPlaintext: c.AllowPlaintext,
		Timeout:        c.Timeout,
		AttemptsMax:    retriesMax,
		RetryBudget:    retriesMax,
		UserAgent:      "paymentsvc-charge",
		OnRetry: func(r client.Retry) {
			_ = say("attempt %d: %v; again in %v", r.Attempt, r.Err,
				r.Wait.Round(time.Millisecond))
		},
	})
	if err != nil {
		return fmt.Errorf("%w (the API key is read from API_KEY)", err)
	}
	defer payments.Close()
	newKey := c.Key == nil
	if newKey {
		c.Key = new(client.NewKey())
	}
	err = say("continue with --key %s if this is interrupted", shellQuoted(string(*c.Key)))
	if newKey && (err != nil || discards(term.err)) {
		return errors.New("nothing was sent: standard error is closed, so the new key " +
			"cannot be shown; give a key by --key")
	}
	payment, err := c.charge(ctx, payments)
	if err != nil {
		return c.explain(err)
	}
	if payment.Replayed {
		_ = say("replayed: an earlier request under this key made the payment, and this is its " +
			"answer")
	}
	if _, err := fmt.Fprintf(term.out, "%s\n", payment.Body); err != nil {
		// The exit code stays 0: the money was charged.
		_ = say("%s is charged, and could not be printed: %v", payment.ID, err)
	}
	return nil
}

func (c *chargeCommand) charge(
	ctx context.Context, payments *client.Client,
) (*client.PaymentReply, error) {
	reference := ""
	if c.Reference != nil {
		reference = *c.Reference
	}
	do := payments.Charge
	if c.AuthorizeOnly {
		do = payments.Authorize
	}
	return do(ctx, *c.Key, client.Charge{
		Amount:             c.Amount,
		Currency:           c.Currency,
		SourceAccount:      c.From,
		DestinationAccount: c.To,
		Reference:          reference,
		Description:        c.Description,
	})
}

// discards tells whether nobody can read what is written to w. A closed standard error
// is the null device: the Go runtime opens it in its place.
func discards(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	written, err := file.Stat()
	null, errNull := os.Stat(os.DevNull)
	return err != nil || errNull == nil && os.SameFile(written, null)
}

// explain adds to an error the state of the key.
func (c *chargeCommand) explain(err error) error {
	no, said := errors.AsType[*client.Error](err)
	switch {
	case errors.Is(err, client.ErrInvalidKey):
		return err
	case errors.Is(err, client.ErrUnknownOutcome):
		return fmt.Errorf("%w\nContinue with the same command and --key %s", err,
			shellQuoted(string(*c.Key)))
	case said && no.Declined():
		return fmt.Errorf("%w (another attempt takes a new key)", err)
	case said && no.Retry == client.RetryNever:
		return err
	}
	return fmt.Errorf("%w\nNothing was done. The key is still free: --key %s", err,
		shellQuoted(string(*c.Key)))
}

// shellQuoted quotes a text for a shell.
func shellQuoted(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune(plainCharacters, r)
	}) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// plainCharacters mean themselves to every shell.
const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:"
