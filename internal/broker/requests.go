package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Result is what a request by message came to.
type Result string

// The results.
const (
	Charged  Result = "charged"  // money moved or held, now or by an earlier request
	Declined Result = "declined" // stored too
	Refused  Result = "refused"  // read and not done: the key is free, or another request's
	Parked   Result = "parked"   // not a request that the service can read
	PutOff   Result = "put_off"  // not known or not possible yet: delivered again later
)

// Results are all results.
var Results = []Result{Charged, Declined, Refused, Parked, PutOff}

// take takes requests until ctx or the consumer ends, or the instance is not ready to
// charge. Then it finishes those that it has begun.
func (b *Broker) take(ctx context.Context) error {
	for b.Ready() != nil {
		if err := wait(ctx, readyInterval); err != nil {
			return err
		}
	}
	stream, err := b.makeStreams(ctx)
	if err != nil {
		return err
	}
	consumer, err := b.makeConsumer(ctx, stream)
	if err != nil {
		return err
	}
	requests, err := consumer.Messages(jetstream.PullMaxMessages(inFlightMax),
		jetstream.PullExpiry(pullExpiry), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	var working errgroup.Group
	working.SetLimit(inFlightMax)
	defer func() { _ = working.Wait() }() // no request returns an error
	var notBegun []jetstream.Msg
	defer func() { b.giveBack(requests, notBegun) }()
	for {
		request, err := requests.Next(jetstream.NextContext(ctx))
		switch {
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return errConsumerEnded
		case err != nil:
			return err
		}
		if err := b.Ready(); err != nil { // another instance may be ready
			notBegun = append(notBegun, request)
			return fmt.Errorf("%w: %w", errNotReady, err)
		}
		working.Go(func() error {
			// A request that has begun is finished, although the instance shuts down.
			b.handle(context.WithoutCancel(ctx), request)
			return nil
		})
	}
}

// readyInterval is how often to look whether the instance is ready again.
const readyInterval = 100 * time.Millisecond

// giveBack ends the subscription. Requests that have arrived and not begun are for
// another instance, at once. One that the broker sends at this very moment is not
// received here. The broker delivers it again after AckWait.
func (b *Broker) giveBack(requests jetstream.MessagesContext, notBegun []jetstream.Msg) {
	if !b.js.Conn().IsConnected() {
		requests.Stop()
		return
	}
	requests.Drain()
	for {
		request, err := requests.Next(jetstream.NextMaxWait(callTimeout))
		if err != nil {
			break
		}
		notBegun = append(notBegun, request)
	}
	// Not before: the broker would deliver them to this subscription again.
	for _, request := range notBegun {
		_ = request.Nak()
	}
	_ = b.js.Conn().FlushTimeout(callTimeout) // the connection may be closed next
}

// handle answers one request: COMMIT, then the broker has the outcome, then the
// request is acknowledged.
func (b *Broker) handle(ctx context.Context, request jetstream.Msg) {
	merchant := strings.TrimPrefix(request.Subject(), requestSubject)
	status, header, body := b.Charge(ctx, merchant, headerOf(request), request.Data())
	result := resultOf(status, header)
	if result != PutOff {
		answer := newAnswer(request, merchant, result, status, header, body)
		if result == Parked {
			shorten(answer, int(b.js.Conn().MaxPayload()))
		}
		if err := b.send(ctx, answer); err != nil {
			b.Logger.Warn("an outcome could not be published; its request comes again",
				"error", err)
			result = PutOff
		}
	}
	if err := settle(ctx, request, result); err != nil {
		b.Logger.Warn("a request could not be acknowledged, and comes again", "error", err)
	}
	b.Observer.Request(result)
}

// headerOf is the request's header in HTTP's spelling. A message without an
// Idempotency-Key has its Nats-Msg-Id for a key.
func headerOf(request jetstream.Msg) http.Header {
	header := http.Header{}
	for name, values := range request.Headers() {
		name = textproto.CanonicalMIMEHeaderKey(name)
		header[name] = append(header[name], values...)
	}
	if _, has := header[keyHeader]; !has {
		if id, has := header[nats.MsgIdHdr]; has {
			header[keyHeader] = id
		}
	}
	if _, has := header["Content-Type"]; !has {
		header.Set("Content-Type", "application/json")
	}
	return header
}

const keyHeader = "Idempotency-Key"

// resultOf reads an answer as an HTTP client would. Retry-After and 5xx say that the
// same request may come to something else later.
//
// Every other status says whether the request could be read. A request that was read
// has an outcome for its publisher, whose member "retry" says what to do about the key:
// 402 is new_key, a key or reference that is taken is never, and the other refusals are
// same_key, corrected. A message that was not read, with 400, 404, 413 or 415, is
// parked. It may lack a key by which a publisher would know it again.
func resultOf(status int, header http.Header) Result {
	switch {
	case status >= http.StatusInternalServerError, header.Get("Retry-After") != "":
		return PutOff
	case status < http.StatusBadRequest:
		return Charged
	case status == http.StatusPaymentRequired:
		return Declined
	case status == http.StatusConflict, status == http.StatusUnprocessableEntity:
		return Refused
	}
	return Parked
}

// settle tells the broker what becomes of a request.
func settle(ctx context.Context, request jetstream.Msg, result Result) error {
	switch result {
	case PutOff:
		return request.NakWithDelay(backoff(request))
	case Parked:
		return request.Term()
	case Charged, Declined, Refused:
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return request.DoubleAck(ctx) // returns when the broker knows it
}

const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// backoff is how long a request is put off: twice as long each time, up to a limit,
// and a random part less, so that requests do not return together.
func backoff(request jetstream.Msg) time.Duration {
	most := backoffMost
	if about, err := request.Metadata(); err == nil && about.NumDelivered < 8 {
		most = min(backoffFirst<<about.NumDelivered, backoffMost)
	}
	return most/2 + rand.N(most/2) //nolint:gosec // jitter is no secret
}
