package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The subjects. Their last token is the merchant's id, so that the broker's permissions
// can keep merchants apart.
const (
	requestSubject = "payments.requests."
	outcomeSubject = "payments.outcomes."
	parkedSubject  = "payments.parked."
	eventSubject   = "payments.events."
	anyMerchant    = "*"
)

const (
	day = 24 * time.Hour
	// window is how long the broker recognises a repeated Nats-Msg-Id.
	window = 2 * time.Minute
)

// streams are made unless the broker has a stream for the subject.
var streams = []jetstream.StreamConfig{
	{
		Name:        "PAYMENTS_REQUESTS",
		Description: "Requests to charge, until they are acknowledged.",
		Subjects:    []string{requestSubject + anyMerchant},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew, // a full stream refuses a request, and drops none
		Duplicates:  window,
	}, {
		Name:        "PAYMENTS_OUTCOMES",
		Description: "Answers to requests.",
		Subjects:    []string{outcomeSubject + anyMerchant},
		MaxAge:      7 * day,
		Duplicates:  window,
	}, {
		Name:        "PAYMENTS_PARKED",
		Description: "Messages that cannot be read as requests, each with its problem.",
		Subjects:    []string{parkedSubject + anyMerchant},
		MaxAge:      90 * day,
		Duplicates:  window,
	}, {
		Name:        "PAYMENTS_EVENTS",
		Description: "Events, as in the feed.",
		Subjects:    []string{eventSubject + anyMerchant},
		MaxAge:      7 * day,
		Duplicates:  window,
	},
}

// makeStream makes the stream of a subject and returns its name. If the broker has one
// already, whatever its settings, it stays as it is.
func (b *Broker) makeStream(ctx context.Context, config jetstream.StreamConfig) (string, error) {
	name, err := b.js.StreamNameBySubject(ctx, config.Subjects[0])
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// Another instance may make it at the same moment, with the same settings.
		name = config.Name
		_, err = b.js.CreateStream(ctx, config)
	}
	if err != nil {
		return "", fmt.Errorf("making the stream of %s: %w", config.Subjects[0], err)
	}
	return name, nil
}

// makeStreams makes all streams and returns the name of the first, that of the
// requests.
func (b *Broker) makeStreams(ctx context.Context) (requests string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for i, config := range streams {
		name, err := b.makeStream(ctx, config)
		if err != nil {
			return "", err
		}
		if i == 0 {
			requests = name
		}
	}
	return requests, nil
}

// consumerName is the durable consumer that all instances share.
const consumerName = "paymentsvc"

const (
	// inFlightMax is how many requests an instance works on at once. They load the
	// group commit like that many HTTP connections.
	inFlightMax = 64
	// ackPendingMax limits the requests that wait for an acknowledgement, of all
	// instances together, including those that were put off.
	ackPendingMax = 4096
	// ackWait is when the broker delivers a request again whose instance has died. It
	// is longer than the default time limit of a request.
	ackWait = 30 * time.Second
	// pullExpiry is how long the broker may have nothing to deliver. Within it, a
	// consumer that is gone is noticed by its missing heartbeats.
	pullExpiry = 10 * time.Second
)

// makeConsumer makes the consumer of requests, or finds it: an operator may have made
// it with other settings.
func (b *Broker) makeConsumer(
	ctx context.Context, stream string,
) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	consumer, err := b.js.Consumer(ctx, stream, consumerName)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
			Durable:       consumerName,
			Description:   "The instances of paymentsvc.",
			FilterSubject: requestSubject + anyMerchant,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       ackWait,
			MaxDeliver:    -1, // for ever: a request is never dropped
			MaxAckPending: ackPendingMax,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("making the consumer of %s: %w", stream, err)
	}
	return consumer, nil
}
