package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
)

// eventsCommand is paymentsvc events.
type eventsCommand struct {
	Tail eventsTailCommand `cmd:"" help:"${events_tail}"`
}

// eventsTailCommand is paymentsvc events tail: a reader of the feed that asks again and
// again, through the Go client.
type eventsTailCommand struct {
	Lines     int     `help:"Begin with so many of the latest events (1 to 100)." default:"10"`
	FromStart bool    `help:"${events_start}" xor:"begin"`
	Cursor    *string `help:"Go on at the cursor of an earlier run." xor:"begin"`
	NoFollow  bool    `help:"End at the end of the feed, instead of waiting for more."`

	Type    string `help:"Only events of this type, such as payment.succeeded."`
	Payment string `help:"Only events of this payment." placeholder:"PAYMENT_ID"`

	URL string `help:"${url}" env:"PAYMENTSVC_URL" default:"http://127.0.0.1:8080"`

	AllowPlaintext bool `help:"Send the API key over http:// to another machine."`
}

// tailInterval is how often the end of the feed is asked for more.
const tailInterval = 500 * time.Millisecond

// Help is the long part of --help.
func (c *eventsTailCommand) Help() string {
	return `Each event is a line of JSON on standard output, oldest first. The last cursor is
printed to standard error at the end: the same command with --cursor CURSOR goes on there. With
other filters a cursor is refused.

The API key is read from the environment variable API_KEY. It may be read-only.

Exit codes:

  0 ended by Ctrl-C or SIGTERM, or at the end of the feed with --no-follow
  1 the service cannot be asked, or the cursor is lost: events after it may be missing
  2 wrong arguments`
}

// Validate refuses a page size that the service refuses, and a cursor from an unset
// variable, which would begin elsewhere.
func (c *eventsTailCommand) Validate() error {
	switch {
	case c.Lines < 1 || c.Lines > 100:
		return errors.New("--lines is not a number from 1 to 100")
	case c.Cursor != nil && *c.Cursor == "":
		return errors.New("--cursor is empty: give the cursor of an earlier run, or leave it out")
	}
	return nil
}

// Run prints events until it is told to end.
func (c *eventsTailCommand) Run(ctx context.Context, term terminal) error {
	service, err := client.New(client.Options{
		URL:            c.URL,
		APIKey:         os.Getenv("API_KEY"),
		AllowPlaintext: c.AllowPlaintext,
		UserAgent:      "paymentsvc-events",
		OnRetry: func(r client.Retry) {
			_, _ = fmt.Fprintf(term.err, "paymentsvc: attempt %d: %v; again in %v\n", r.Attempt,
				r.Err, r.Wait.Round(time.Millisecond))
		},
	})
	if err != nil {
		return fmt.Errorf("%w (the API key is read from API_KEY)", err)
	}
	defer service.Close()
	page := client.PageRequest{Limit: 100}
	switch {
	case c.Cursor != nil:
		page.Cursor = *c.Cursor
	case !c.FromStart:
		page.Limit = c.Lines
	}
	err = c.follow(ctx, service, &page, term)
	if page.Cursor != "" {
		_, _ = fmt.Fprintf(term.err, "paymentsvc: continue with --cursor %s\n", page.Cursor)
	}
	return err
}

// follow prints events and moves the cursor of the page on. The cursor moves after the
// events are printed, so that an interrupted run repeats events and skips none.
func (c *eventsTailCommand) follow(
	ctx context.Context, service *client.Client, page *client.PageRequest, term terminal,
) error {
	filter := client.EventFilter{Type: c.Type, PaymentID: c.Payment, Latest: !c.FromStart}
	for {
		got, err := service.ListEvents(ctx, filter, *page)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to end
		case err != nil:
			return explainCursor(err)
		}
		for _, event := range got.Data {
			if _, err := fmt.Fprintf(term.out, "%s\n", event.Body); err != nil {
				return fmt.Errorf("printing an event: %w", err)
			}
		}
		atEnd := got.NextCursor == page.Cursor
		page.Cursor, page.Limit = got.NextCursor, 100
		if !atEnd {
			continue
		}
		if c.NoFollow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tailInterval):
		}
	}
}

func explainCursor(err error) error {
	no, said := errors.AsType[*client.Error](err)
	if said && no.Code == client.CodeCursorLost {
		return fmt.Errorf("%w\nCompare with the list of payments, then begin again with "+
			"--from-start", err)
	}
	return err
}
