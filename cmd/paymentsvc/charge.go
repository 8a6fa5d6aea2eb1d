package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
)

// retriesMax leaves it to the time limit to end a charge: there is one caller, who has
// said how long he waits.
const retriesMax = 100_000

// chargeCommand is paymentsvc charge: one charge from a shell, with all the care that
// the Go client takes.
type chargeCommand struct {
	Amount         int64         `help:"In the currency's minor unit: 4999 is 49.99 USD." required:""`
	Currency       string        `help:"Such as USD." required:""`
	From           string        `help:"The account that pays." required:"" placeholder:"ACCOUNT"`
	To             string        `help:"The account that is paid." required:"" placeholder:"ACCOUNT"`
	Key            client.Key    `help:"Idempotency key: continues the earlier try that had it. Without one, a new one is made and printed."`
	Reference      string        `help:"A name of which there is one payment, whatever the key."`
	Description    string        `help:"What it is for."`
	AuthorizeOnly  bool          `help:"Hold the money, to be captured later."`
	URL            string        `help:"Where the service is." env:"PAYMENTSVC_URL" default:"http://127.0.0.1:8080" placeholder:"URL"`
	AllowPlaintext bool          `help:"Send the API key over http:// to another machine."`
	Timeout        time.Duration `help:"How long to go on trying." default:"1m"`
}

// Help is the long part of --help.
func (c *chargeCommand) Help() string {
	return `The API key is read from the environment, API_KEY: a command line is seen by every user of the machine.

The key is printed before anything is sent. Whatever happens then, the same command with --key KEY is safe, and ends in the
same one payment.

Exit code: 0 charged (or held), now or by an earlier try; 1 declined, refused or never sent, and the message says which
and what the key is good for; 2 called wrongly; 3 unknown: it may have been charged or may yet be, so go on with the same
key.`
}

// Run charges.
func (c *chargeCommand) Run(ctx context.Context, term terminal) error {
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(term.err, "paymentsvc: "+format+"\n", args...)
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
			say("attempt %d: %v; again in %v", r.Attempt, r.Err, r.Wait.Round(time.Millisecond))
		},
	})
	if err != nil {
		return fmt.Errorf("%w (the API key is read from API_KEY)", err)
	}
	defer payments.Close()
	if c.Key == "" {
		c.Key = client.NewKey()
	}
	say("continue with --key %s if this is interrupted", shellQuoted(string(c.Key)))
	payment, err := c.charge(ctx, payments)
	if err != nil {
		return c.explain(err)
	}
	if payment.Replayed {
		say("replayed: an earlier request under this key made the payment, and this is its answer")
	}
	if _, err := fmt.Fprintf(term.out, "%s\n", payment.Body); err != nil {
		// so the exit code says charged
		say("%s is charged, and could not be printed: %v", payment.ID, err)
	}
	return nil
}

func (c *chargeCommand) charge(
	ctx context.Context, payments *client.Client,
) (*client.PaymentReply, error) {
	do := payments.Charge
	if c.AuthorizeOnly {
		do = payments.Authorize
	}
	return do(ctx, c.Key, client.Charge{
		Amount:             c.Amount,
		Currency:           c.Currency,
		SourceAccount:      c.From,
		DestinationAccount: c.To,
		Reference:          c.Reference,
		Description:        c.Description,
	})
}

// explain adds to an error what the key is good for now.
func (c *chargeCommand) explain(err error) error {
	no, said := errors.AsType[*client.Error](err)
	switch {
	case errors.Is(err, client.ErrInvalidKey):
		return err
	case errors.Is(err, client.ErrUnknownOutcome):
		return fmt.Errorf("%w\nContinue with the same command and --key %s", err,
			shellQuoted(string(c.Key)))
	case said && no.Declined():
		return fmt.Errorf("%w (another attempt takes a new key)", err)
	case said && no.Retry == client.RetryNever:
		return err
	}
	return fmt.Errorf("%w\nNothing was done. The key is still free: --key %s", err,
		shellQuoted(string(c.Key)))
}

// shellQuoted is a text as a shell takes it.
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
