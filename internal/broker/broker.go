// Package broker takes requests in by NATS JetStream, and sends events out. The
// broker is optional: without it the service charges over HTTP alone.
//
// A message is delivered once or more, so a message must be harmless when it comes
// again.
//
//   - Requests in (requests.go): a message is a charge under its key, in the same key
//     space as HTTP. The order is COMMIT, then the broker has the outcome, then the
//     request is acknowledged. If this process dies in between, the broker delivers the
//     request again, here or to another instance. Its key is taken then, so it gets the
//     stored answer.
//   - Events out (events.go): a cursor on the feed of package outbox. It moves on when
//     the broker has acknowledged the events. If this process dies before, they are
//     published again under the same ids.
//
// The broker drops a message that repeats a recent Nats-Msg-Id. That spares work and
// promises nothing: the broker forgets ids after two minutes and when it is restored.
// Keys and event ids are for ever.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
)

const (
	// reconnectInterval is short, because a lost connection delays every request.
	reconnectInterval = time.Second
	// retryInterval is the wait after an error that a new connection does not cure,
	// such as a missing permission.
	retryInterval = 2 * time.Second
	// callTimeout is for one exchange with the broker.
	callTimeout = 5 * time.Second
)

// Settings of the connection.
type Settings struct {
	URL       string // one or more, separated by commas
	CredsFile string // "": no credentials, or those in the URL
	CAFile    string // "": the system's certificate authorities
}

// Charge answers the request of POST /payments of a merchant, as the API does.
type Charge func(
	ctx context.Context, merchant string, header http.Header, body []byte,
) (status int, answered http.Header, answer []byte)

// Config of a Broker. Every field is required, but for those of Settings.
type Config struct {
	Settings
	Charge   Charge
	Ready    func() error  // nil while the instance can charge
	Pool     *pgxpool.Pool // for the cursors
	Feed     *outbox.Feed
	Changed  func() <-chan struct{} // closed when there may be new events
	Busy     func() bool            // charges wait for the database
	Observer Observer
	Logger   *slog.Logger
}

// Observer counts what is done.
type Observer struct {
	Request    func(Result)
	Published  func(events int)
	CursorLost func()
}

// Broker is the service's part in a message broker.
type Broker struct {
	Config
	js jetstream.JetStream
}

// Run takes requests and publishes events until ctx ends. It then finishes the
// requests that it has taken. While the broker is away, it keeps trying.
func Run(ctx context.Context, config Config) {
	connection, err := connect(ctx, config)
	if err != nil {
		return // ctx has ended
	}
	defer connection.Close()
	js, err := jetstream.New(connection, jetstream.WithPublishAsyncTimeout(callTimeout))
	if err != nil {
		panic(err) // only for invalid options, and there are none
	}
	b := &Broker{Config: config, js: js}
	var running sync.WaitGroup
	running.Go(func() { b.keepDoing(ctx, "taking requests", b.take) })
	running.Go(func() { b.keepDoing(ctx, "publishing events", b.publish) })
	running.Wait()
}

// connect returns an open connection, which is perhaps not established yet. It ends
// by itself only with ctx.
func connect(ctx context.Context, config Config) (*nats.Conn, error) {
	for {
		connection, err := nats.Connect(config.URL, options(config)...)
		if err == nil {
			return connection, nil
		}
		config.Logger.Warn("connecting to the message broker", "error", err)
		if err := wait(ctx, retryInterval); err != nil {
			return nil, err
		}
	}
}

func options(config Config) []nats.Option {
	report := &reporter{logger: config.Logger}
	all := []nats.Option{
		nats.Name("paymentsvc"),
		nats.MaxReconnects(-1), // for ever
		nats.ReconnectWait(reconnectInterval),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // the right may be granted later
		// Without a connection, publishing fails at once. A buffer would send a later
		// event first if the earlier one was lost with the old connection.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(report.connected),
		nats.ReconnectHandler(report.connected),
		nats.DisconnectErrHandler(report.away),
		nats.ReconnectErrHandler(report.away),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			config.Logger.Warn("the message broker reports an error", "error", err)
		}),
	}
	if config.CredsFile != "" {
		all = append(all, nats.UserCredentials(config.CredsFile))
	}
	if config.CAFile != "" {
		all = append(all, nats.RootCAs(config.CAFile))
	}
	return all
}

// reporter logs changes of the connection. The client calls its methods one after the
// other.
type reporter struct {
	logger *slog.Logger
	last   string // the last error since there was a connection
}

func (r *reporter) connected(c *nats.Conn) {
	r.last = ""
	r.logger.Info("connected to the message broker", "address", c.ConnectedAddr())
}

// away is called for a lost connection and after each attempt. The same error is
// logged once.
func (r *reporter) away(c *nats.Conn, err error) {
	if c.IsClosed() || err == nil || err.Error() == r.last {
		return
	}
	r.last = err.Error()
	r.logger.Warn("the message broker is away; the service goes on without it", "error", err)
}

// keepDoing does something until ctx ends, again and again after errors. While there
// is no connection it waits.
func (b *Broker) keepDoing(ctx context.Context, what string, do func(context.Context) error) {
	for {
		if b.js.Conn().IsConnected() {
			err := do(ctx)
			if ctx.Err() == nil && b.js.Conn().IsConnected() {
				b.Logger.Warn("a worker of the message broker failed and will try again",
					"worker", what, "error", err)
			}
		}
		if wait(ctx, retryInterval) != nil {
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// send publishes a message and returns when the broker has stored it.
func (b *Broker) send(ctx context.Context, message *nats.Msg) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := b.js.PublishMsg(limited, message)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("publishing to %s: %w", message.Subject, err)
	if errors.Is(err, jetstream.ErrNoStreamResponse) { // the stream may have been deleted
		_, makeErr := b.makeStreams(ctx)
		return errors.Join(err, makeErr)
	}
	return err
}

// Reasons for which an instance stops taking requests for a while.
var (
	errConsumerEnded = errors.New("the consumer has ended")
	errNotReady      = errors.New("the instance is not ready to charge")
)
