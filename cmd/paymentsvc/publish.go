package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/client"
)

// publishCommand is paymentsvc publish: one request to charge by message.
type publishCommand struct {
	Merchant    int64      `help:"${pub_merchant}" env:"MERCHANT_ID" required:"" placeholder:"ID"`
	Key         client.Key `help:"Idempotency key of the intent to charge." required:""`
	Amount      int64      `help:"In the currency's minor unit: 4999 is 49.99 USD." required:""`
	Currency    string     `help:"Such as USD." required:""`
	From        string     `help:"The account that pays." required:"" placeholder:"ACCOUNT"`
	To          string     `help:"The account that is paid." required:"" placeholder:"ACCOUNT"`
	Reference   *string    `help:"${reference}"`
	Description string     `help:"Text for people."`

	NatsURL       string `help:"${pub_url}" env:"NATS_URL" default:"nats://127.0.0.1:4222"`
	NatsCredsFile string `help:"${creds}" env:"NATS_CREDS_FILE" placeholder:"FILE"`
	NatsCAFile    string `help:"${natsca}" env:"NATS_CA_FILE" placeholder:"FILE"`

	Timeout time.Duration `help:"How long to wait for the answer." default:"30s"`
}

// Help is the long part of --help.
func (c *publishCommand) Help() string {
	return `The request goes to payments.requests.MERCHANT. The answer comes from
payments.outcomes.MERCHANT or, if the request cannot be read, payments.parked.MERCHANT.

The same command with the same key is safe to repeat: it makes no second payment.

Exit codes:

  0 charged, now or by an earlier request under the key
  1 declined, refused, parked or never sent
  2 wrong arguments
  3 unknown: there is no answer yet; publish it again, with the same key`
}

// Validate refuses an empty key or reference, as that of chargeCommand does.
func (c *publishCommand) Validate() error {
	if c.Key == "" {
		return errors.New("--key is empty")
	}
	return checkReference(c.Reference)
}

// Run publishes the request and waits for its answer.
func (c *publishCommand) Run(ctx context.Context, term terminal) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	connection, err := nats.Connect(c.NatsURL, c.options()...)
	if err != nil {
		if malformed, ok := errors.AsType[*url.Error](err); ok {
			err = malformed.Err // without the URL, which may hold a password
		}
		return fmt.Errorf("connecting to the NATS server: %w (nothing was sent)", err)
	}
	defer connection.Close()
	// Before the request, so that its answer is not missed.
	answers := make(chan *nats.Msg, 64)
	for _, subject := range []string{"payments.outcomes.", "payments.parked."} {
		if _, err := connection.ChanSubscribe(subject+c.merchant(), answers); err != nil {
			return fmt.Errorf("subscribing to answers: %w (nothing was sent)", err)
		}
	}
	if err := c.publish(ctx, connection); err != nil {
		return err
	}
	for {
		select {
		case answer := <-answers:
			if answer.Header.Get("Idempotency-Key") == c.keyHeader() {
				return c.report(term, answer)
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: the broker has the request, and there is no answer yet; "+
				"publish it again with --key %s", client.ErrUnknownOutcome,
				shellQuoted(string(c.Key)))
		}
	}
}

func (c *publishCommand) merchant() string { return strconv.FormatInt(c.Merchant, 10) }

// keyHeader is the key, quoted as a string of RFC 9651 where it has to be.
func (c *publishCommand) keyHeader() string {
	if strings.ContainsAny(string(c.Key), `",`) ||
		strings.TrimSpace(string(c.Key)) != string(c.Key) {
		return strconv.Quote(string(c.Key))
	}
	return string(c.Key)
}

func (c *publishCommand) options() []nats.Option {
	options := []nats.Option{nats.Name("paymentsvc publish")}
	if c.NatsCredsFile != "" {
		options = append(options, nats.UserCredentials(c.NatsCredsFile))
	}
	if c.NatsCAFile != "" {
		options = append(options, nats.RootCAs(c.NatsCAFile))
	}
	return options
}

// publish returns when the broker has stored the request.
func (c *publishCommand) publish(ctx context.Context, connection *nats.Conn) error {
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	request := nats.NewMsg("payments.requests." + c.merchant())
	request.Header.Set("Idempotency-Key", c.keyHeader())
	charge := client.Charge{
		Amount: c.Amount, Currency: c.Currency,
		SourceAccount: c.From, DestinationAccount: c.To, Description: c.Description,
	}
	if c.Reference != nil {
		charge.Reference = *c.Reference
	}
	if request.Data, err = json.Marshal(charge); err != nil {
		return err
	}
	_, err = js.PublishMsg(ctx, request)
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("publishing the request: %w (does an instance of the service run "+
			"with this broker?)", err)
	case err != nil:
		return fmt.Errorf("%w: publishing the request: %w", client.ErrUnknownOutcome, err)
	}
	return nil
}

// report prints the payment of an answer, or returns its problem.
func (c *publishCommand) report(term terminal, answer *nats.Msg) error {
	status, err := strconv.Atoi(answer.Header.Get("Http-Status"))
	if err != nil || status >= http.StatusBadRequest {
		return fmt.Errorf("the answer is %s", answer.Data)
	}
	if answer.Header.Get("Idempotent-Replayed") != "" {
		_, _ = fmt.Fprintln(term.err, "paymentsvc: replayed: an earlier request under this key "+
			"made the payment, and this is its answer")
	}
	_, err = fmt.Fprintf(term.out, "%s\n", answer.Data)
	return err
}
