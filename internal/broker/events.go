package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

const (
	// pageSize is how many events are on their way to the broker at once.
	pageSize = 500
	// lease is how long one instance alone publishes a merchant's events. It is also
	// how long they wait if that instance dies.
	lease      = 10 * time.Second
	leasedMax  = 16
	leaseLimit = lease / 2 // after it, the cursors that are left are given back
	// gatherTime lets events gather after a change, so that under load few pages,
	// with a few commits each, carry many events.
	gatherTime = 20 * time.Millisecond
	// lookInterval is how often to look for events of other instances.
	lookInterval = time.Second
	// merchantsInterval is how often to look for new merchants.
	merchantsInterval = 5 * time.Second
)

// publish publishes events until ctx ends or something fails.
func (b *Broker) publish(ctx context.Context) error {
	if _, err := b.makeStreams(ctx); err != nil {
		return err
	}
	var lookedForMerchants time.Time
	for {
		began, changed := time.Now(), b.Changed() // before the look: no change is missed
		if time.Since(lookedForMerchants) >= merchantsInterval {
			if err := b.makeCursors(ctx); err != nil {
				return err
			}
			lookedForMerchants = time.Now()
		}
		more, err := b.publishDue(ctx)
		if err != nil {
			return err
		}
		rest := max(gatherTime, outbox.Rest(time.Since(began), b.Busy()))
		if err := wait(ctx, rest); err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(lookInterval):
		}
	}
}

// makeCursors gives each new merchant a cursor, at the beginning of its feed.
func (b *Broker) makeCursors(ctx context.Context) error {
	rows, err := b.Pool.Query(ctx, `
		SELECT id FROM merchants
		EXCEPT
		SELECT merchant_id FROM feed_cursors WHERE consumer = $1`, outbox.NATS)
	if err != nil {
		return fmt.Errorf("looking for merchants without a cursor: %w", err)
	}
	without, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("looking for merchants without a cursor: %w", err)
	}
	if len(without) == 0 {
		return nil
	}
	_, err = b.Pool.Exec(ctx, `
		INSERT INTO feed_cursors (merchant_id, consumer)
		SELECT id, $2 FROM unnest($1::bigint[]) AS id
		ON CONFLICT (merchant_id, consumer) DO NOTHING`, without, outbox.NATS)
	if err != nil {
		return fmt.Errorf("making cursors: %w", err)
	}
	return nil
}

// publishDue publishes a page of events of each of some merchants. It returns whether
// there may be more to publish at once.
func (b *Broker) publishDue(ctx context.Context) (more bool, err error) {
	limited, cancel := context.WithTimeout(ctx, leaseLimit)
	defer cancel()
	cursors, errLease := b.Feed.Lease(limited, outbox.NATS, lease, leasedMax)
	more = len(cursors) == leasedMax
	for i := range cursors {
		full, err := b.publishPage(limited, &cursors[i])
		if err != nil {
			left := cursors[i:]
			if limited.Err() == nil && b.js.Conn().IsConnected() {
				// This merchant's events may be refused for ever. Its lease stays, so that
				// the other merchants' events come first.
				left = left[1:]
			}
			return false, errors.Join(errLease, err, b.giveCursorsBack(ctx, left))
		}
		more = more || full
	}
	return more, errLease
}

// publishPage publishes the next events of a merchant, and returns whether there may
// be more. The cursor moves on when the broker has all of them, and not before.
func (b *Broker) publishPage(
	ctx context.Context, cursor *outbox.Cursor,
) (full bool, err error) {
	page, err := cursor.Read(ctx, b.Feed, pageSize)
	if errors.Is(err, outbox.ErrCursorLost) {
		b.Observer.CursorLost()
		b.Logger.Error("events may be gone that the message broker never got; going on from the "+
			"oldest that is kept", "merchant_id", cursor.MerchantID)
		_, err := cursor.Advance(ctx, b.Pool, outbox.Position{})
		return true, err
	}
	if errors.Is(err, outbox.ErrForeignIDs) {
		// The lease stays, as it does for events that the broker refuses.
		b.Logger.Error("events cannot be published", "merchant_id", cursor.MerchantID,
			"error", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := b.publishEvents(ctx, page.Events); err != nil {
		return false, err
	}
	if _, err := cursor.Advance(ctx, b.Pool, page.Next); err != nil {
		return false, err
	}
	b.Observer.Published(len(page.Events))
	return len(page.Events) == pageSize, nil
}

// publishEvents returns nil when the broker has acknowledged every event.
//
// The first event goes alone. A broker that has just started may refuse it, and would
// perhaps take the next one: then a payment's events would arrive in the wrong order.
func (b *Broker) publishEvents(ctx context.Context, events []outbox.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := b.send(ctx, eventMessage(&events[0])); err != nil {
		return err
	}
	var underWay []jetstream.PubAckFuture
	for i := range events[1:] {
		future, err := b.js.PublishMsgAsync(eventMessage(&events[i+1]),
			jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("publishing events: %w", err)
		}
		underWay = append(underWay, future)
	}
	for _, future := range underWay {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return fmt.Errorf("publishing events: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("publishing events: %w", ctx.Err())
		}
	}
	return nil
}

// eventMessage has the event as the world sees it. The broker drops it if it has
// published the same one a moment ago.
func eventMessage(event *outbox.Event) *nats.Msg {
	message := nats.NewMsg(fmt.Sprint(eventSubject, event.MerchantID))
	message.Header.Set(nats.MsgIdHdr, event.Position().EventID())
	message.Data = event.JSON()
	return message
}

// giveCursorsBack ends the leases of cursors that were not moved, so that nobody has
// to wait for their end.
func (b *Broker) giveCursorsBack(ctx context.Context, cursors []outbox.Cursor) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	for i := range cursors {
		if _, err := cursors[i].Advance(ctx, b.Pool, cursors[i].At); err != nil {
			return err
		}
	}
	return nil
}
