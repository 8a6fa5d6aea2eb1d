// Package app makes an instance of the service. It is the only place that knows all the
// parts: it reads the configuration, opens the pools, wires the services and the API,
// runs the background workers, and closes everything in reverse order.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/broker"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/metrics"
	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/tracing"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

const (
	// databaseWait is for a database that is still starting.
	databaseWait = 10 * time.Second
	// transactionTimeout is for a batch with all its tries (see postgres.Committer).
	transactionTimeout = 10 * time.Second
	// traceFlushTimeout comes on top of the shutdown timeout.
	traceFlushTimeout = 2 * time.Second
)

var errFull = errors.New("too many requests are waiting")

// Instance is one wired service. Close ends it.
type Instance struct {
	Pools    *postgres.Pools
	Accounts *ledger.Accounts
	Payments *payments.Service
	Feed     *outbox.Feed
	Webhooks *webhooks.Service
	Cards    *cards.Service // nil: there is no card processor
	Handler  http.Handler   // the public API

	config   Config
	sharded  bool // see postgres/sharded.go
	logger   *slog.Logger
	health   *health
	tracing  *tracing.Tracing // nil: off
	metrics  *metrics.Metrics
	changed  outbox.Signal // a transaction of this instance was committed
	lag      outbox.Lag    // of the feed
	stopping chan struct{} // is closed when streams have to end
	listener net.Listener  // nil until Listen

	chargeByMessage broker.Charge
	admin           net.Listener // nil: none
}

// New wires an instance on the migrated database at databaseURL. It waits for a database
// that is still starting, and refuses one that could lose or double a charge. The fields
// of the instance take charges at once. Listen and Serve put it on the network.
func New(
	ctx context.Context, config Config, databaseURL string, logger *slog.Logger,
) (_ *Instance, err error) {
	in := &Instance{config: config, logger: logger, stopping: make(chan struct{})}
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	if err := in.open(ctx, databaseURL); err != nil {
		return nil, err
	}
	in.logger.Info("starting", append(config.attributes(), "database", in.database())...)
	in.health = newHealth(in.Pools, config.AllowDataLoss, in.logger)
	if err := in.health.waitUntilFit(ctx, databaseWait); err != nil {
		return nil, err
	}
	in.metrics = metrics.New(metrics.Sources{
		Ready:    in.readyToCharge,
		Payments: func() payments.Stats { return in.Payments.Stats() },
		FeedLag:  in.lag.Held,
		Webhooks: func() webhooks.Stats { return in.Webhooks.Stats() },
		Cards:    func() cards.Stats { return in.Cards.Stats() },
		Pools: map[string]*pgxpool.Pool{
			"general": in.Pools.General, "money": in.Pools.Money, "probe": in.Pools.Probe,
		},
	})
	if err := in.chooseMode(ctx); err != nil {
		return nil, err
	}
	if !in.feedOff() {
		if err := outbox.CheckIDs(ctx, in.Pools.General); err != nil {
			return nil, err
		}
	}
	in.Accounts = ledger.NewAccounts(in.Pools.General)
	in.Payments = in.newPayments()
	in.Feed = outbox.NewFeed(in.Pools.General, in.sharded)
	in.Webhooks = webhooks.New(webhooks.Config{
		Pool: in.Pools.General, Feed: in.Feed, Committed: &in.changed, Busy: in.busy,
		Schedule:              webhooks.DefaultSchedule,
		Sharded:               in.sharded,
		AllowPrivateAddresses: config.WebhookAllowPrivate,
		Logger:                in.logger,
	})
	in.health.payments = in.Payments
	if err := in.openCards(ctx); err != nil {
		return nil, err
	}
	api := in.apiConfig()
	in.Handler = httpapi.New(api)
	in.chargeByMessage = httpapi.ByMessage(api)
	return in, nil
}

// open opens the pools, with tracing if it is on.
func (in *Instance) open(ctx context.Context, databaseURL string) (err error) {
	options := postgres.Options{
		URL: databaseURL, GeneralSize: in.config.ReadConnections, MoneySize: in.config.Workers,
	}
	if in.config.Tracing != nil {
		if in.tracing, err = tracing.Start(ctx, in.config.Tracing, in.logger); err != nil {
			return err
		}
		in.logger = slog.New(tracing.LogHandler(in.logger.Handler()))
		options.Tracer = in.tracing.SQL()
	}
	in.Pools, err = postgres.Open(ctx, options)
	return err
}

func (in *Instance) newPayments() *payments.Service {
	config := payments.Config{
		Pools:                 in.Pools,
		Retention:             in.config.Retention,
		AuthorizationLifetime: in.config.AuthorizationLifetime,
		Workers:               in.config.Workers,
		BatchSizeMax:          in.config.BatchSizeMax,
		QueueSizeMax:          in.config.QueueSizeMax,
		Timeout:               transactionTimeout,
		Sharded:               in.sharded,
		Logger:                in.logger,
		Observer:              in.observer(),
	}
	if in.tracing != nil {
		config.Trace = in.tracing.Batch
	}
	in.addCards(&config)
	return payments.New(config)
}

// busy tells whether charges wait for the database.
func (in *Instance) busy() bool { return in.Payments.Stats().Waiting > 0 }

// observer counts transactions, and wakes the readers of the feed after each.
func (in *Instance) observer() groupcommit.Observer {
	observer := in.metrics.Queue()
	count := observer.Committed
	observer.Committed = func(size int, took time.Duration, err error) {
		in.changed.Notify()
		count(size, took, err)
	}
	return observer
}

func (in *Instance) apiConfig() httpapi.Config {
	config := httpapi.Config{
		Payments: in.Payments,
		Accounts: in.Accounts,
		Webhooks: in.Webhooks,
		Cards:    in.Cards,
		CardAttempts: func(ctx context.Context, f cards.Filter) ([]*cards.Attempt, error) {
			return cards.Unsettled(ctx, in.Pools.General, f)
		},
		Feed: in.Feed,
		Streams: httpapi.Streams{
			Max: in.config.EventStreamsMax, Changed: in.changed.Changed, Stopping: in.stopping,
		},
		Authenticator:  merchants.NewAuthenticator(in.Pools.General),
		RateLimit:      in.config.RateLimit,
		Ready:          in.readyToCharge,
		RequestTimeout: in.config.RequestTimeout,
		Logger:         in.logger,
		Answered:       in.metrics.Answered,
	}
	if in.feedOff() {
		config.Feed, config.Webhooks = nil, nil
	}
	if in.tracing != nil {
		config.Trace = in.tracing.Request
	}
	return config
}

// readyToCharge returns nil while the instance may take a charge and has room for one.
// A queue that is full only for a moment rarely coincides with a health check.
func (in *Instance) readyToCharge() error {
	if in.Payments.Full() {
		return errFull
	}
	return in.health.ready()
}

// database is the address of the database, without the password.
func (in *Instance) database() string {
	conn := in.Pools.General.Config().ConnConfig
	address := url.URL{
		Scheme: "postgres",
		User:   url.User(conn.User),
		Host:   net.JoinHostPort(conn.Host, strconv.Itoa(int(conn.Port))),
		Path:   conn.Database,
	}
	return address.String()
}

// Close closes everything in reverse order. The engine first commits its queue. Serve
// calls Close itself.
func (in *Instance) Close() {
	if in.Cards != nil {
		in.Cards.Close()
	}
	if in.Payments != nil {
		in.Payments.Close()
	}
	if in.Webhooks != nil {
		in.Webhooks.Close()
	}
	if in.Pools != nil {
		in.Pools.Close()
	}
	if in.tracing != nil {
		ctx, cancel := context.WithTimeout(context.Background(), traceFlushTimeout)
		defer cancel()
		if err := in.tracing.Shutdown(ctx); err != nil {
			in.logger.Warn("sending the last spans", "error", err)
		}
	}
}
