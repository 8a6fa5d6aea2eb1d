package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/httpserver"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/metrics"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/tracing"
)

const (
	databaseWait       = 10 * time.Second // for a database that is still starting
	transactionTimeout = 10 * time.Second // of a batch, with all of its tries; see postgres.Committer
	headerTimeout      = 5 * time.Second
	idleTimeout        = 2 * time.Minute
	traceFlushTimeout  = 2 * time.Second // on top of the shutdown timeout, and only if the collector is away

	expireBatchSize = 500
	expireInterval  = time.Second

	reapBatchSize   = 5000
	reapIntervalMax = time.Minute
)

// instance is one running service: pools, engine, background workers and API, in the order in which they depend on
// each other.
type instance struct {
	config        instanceConfig
	logger        *slog.Logger
	pools         *postgres.Pools
	authenticator *merchants.Authenticator
	payments      *payments.Service
	health        *health
	tracing       *tracing.Tracing // nil: off
	metrics       *metrics.Metrics
	listener      net.Listener
	admin         net.Listener // nil: none
}

// startInstance connects to the migrated database at url, makes sure that money may run on it, and begins to listen. The
// instance serves once serve is called.
func startInstance(ctx context.Context, config instanceConfig, url string, logger *slog.Logger) (_ *instance, err error) {
	collectRarely()
	in := &instance{config: config, logger: logger}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	options := postgres.Options{URL: url, GeneralSize: config.readConnections, MoneySize: config.workers}
	if config.tracing != nil {
		if in.tracing, err = tracing.Start(ctx, config.tracing, logger); err != nil {
			return nil, err
		}
		in.logger = slog.New(tracing.LogHandler(logger.Handler()))
		options.Tracer = in.tracing.SQL()
	}
	if in.pools, err = postgres.Open(ctx, options); err != nil {
		return nil, err
	}
	in.logger.Info("starting", append(config.attributes(), "database", in.database())...)
	in.health = newHealth(in.pools, config.allowDataLoss, in.logger)
	if err := in.health.waitUntilFit(ctx, databaseWait); err != nil {
		return nil, err
	}
	in.authenticator = merchants.NewAuthenticator(in.pools.General)
	in.metrics = metrics.New(metrics.Sources{
		Ready:    in.readyToCharge,
		Payments: func() payments.Stats { return in.payments.Stats() },
		Pools:    map[string]*pgxpool.Pool{"general": in.pools.General, "money": in.pools.Money, "probe": in.pools.Probe},
	})
	paymentsConfig := payments.Config{
		Pools:                 in.pools,
		Render:                httpapi.Render,
		Retention:             config.retention,
		AuthorizationLifetime: config.authorizedFor,
		Workers:               config.workers,
		BatchSizeMax:          config.batchSizeMax,
		QueueSizeMax:          config.queueSizeMax,
		Timeout:               transactionTimeout,
		Logger:                in.logger,
		Observer:              in.metrics.Queue(),
	}
	if in.tracing != nil {
		paymentsConfig.Trace = in.tracing.Batch
	}
	in.payments = payments.New(paymentsConfig)
	return in, in.listen(ctx)
}

// listen opens the ports, so that one that is taken is known before anything is said to be served.
func (in *instance) listen(ctx context.Context) (err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", in.config.listenAddr)
	if err != nil {
		return fmt.Errorf("opening the port of LISTEN_ADDR: %w", err)
	}
	in.listener = httpserver.Limit(listener, in.config.connectionsMax)
	if in.config.adminAddr == "" {
		return nil
	}
	if in.admin, err = new(net.ListenConfig).Listen(ctx, "tcp", in.config.adminAddr); err != nil {
		return fmt.Errorf("opening the port of ADMIN_ADDR (a second instance on one machine needs another, "+
			"such as 127.0.0.1:0 for any free one, or off): %w", err)
	}
	return nil
}

// database names the database without the login's password.
func (in *instance) database() string {
	conn := in.pools.General.Config().ConnConfig
	address := url.URL{
		Scheme: "postgres",
		User:   url.User(conn.User),
		Host:   net.JoinHostPort(conn.Host, strconv.Itoa(int(conn.Port))),
		Path:   conn.Database,
	}
	return address.String()
}

// url is the address of the API, for callers.
func (in *instance) url() string {
	if in.config.certificate != nil {
		return "https://" + in.address()
	}
	return "http://" + in.address()
}

// address is where the API listens.
func (in *instance) address() string { return in.listener.Addr().String() }

// serve answers requests until ctx ends; then it stops being ready, lets accepted requests finish, and returns. An error
// means that it could not serve, or that requests were still running at the shutdown timeout.
func (in *instance) serve(ctx context.Context) error {
	defer in.close()
	server := in.newAPIServer()
	background, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	workers.Go(func() { in.health.watch(background) })
	workers.Go(func() { in.reap(background) })
	workers.Go(func() { in.expire(background) })

	failed := make(chan error, 2)
	go func() { failed <- in.serveAPI(server) }()
	if in.admin != nil {
		admin := in.newAdminServer()
		defer func() { _ = admin.Close() }() // at the very end, so that it tells of the shutdown too
		go func() { failed <- admin.Serve(in.admin) }()
		in.logger.Info("serving health, metrics and profiles", "address", in.admin.Addr().String())
	}
	in.logger.Info("serving", "address", in.address(), "url", in.url())
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return in.shutDown(server)
}

// newAPIServer makes the server of every public path.
func (in *instance) newAPIServer() *http.Server {
	config := httpapi.Config{
		Payments:       in.payments,
		Accounts:       in.pools.General,
		Authenticator:  in.authenticator,
		RateLimit:      in.config.rateLimit,
		Ready:          in.readyToCharge,
		Unavailable:    postgres.Unavailable,
		RequestTimeout: in.config.requestTimeout,
		Logger:         in.logger,
		Answered:       in.metrics.Answered,
	}
	if in.tracing != nil {
		config.Trace = in.tracing.Request
	}
	server := httpserver.New(httpserver.Config{
		Handler:        httpapi.New(config),
		HeaderTimeout:  headerTimeout,
		RequestTimeout: in.config.requestTimeout,
		IdleTimeout:    idleTimeout,
		Logger:         in.logger,
	})
	if in.config.certificate != nil {
		server.TLSConfig = in.config.certificate.config(in.logger)
	}
	return server
}

// serveAPI answers requests until the server is shut down.
func (in *instance) serveAPI(server *http.Server) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(in.listener, "", "") // the certificate is in the TLSConfig
	}
	return server.Serve(in.listener)
}

// shutDown ends the API: not ready first, while it goes on serving; then no new connections; then wait for what was
// accepted. All of it within the shutdown timeout.
func (in *instance) shutDown(server *http.Server) error {
	in.logger.Info("shutting down")
	ctx, cancel := context.WithTimeout(context.Background(), in.config.shutdownTimeout)
	defer cancel()
	in.health.drain()
	select {
	case <-time.After(in.config.shutdownDelay):
	case <-ctx.Done():
	}
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("waiting for accepted requests: %w", err), server.Close())
	}
	return nil
}

// close gives back what was opened, in reverse. The engine commits what waits in its queue first.
func (in *instance) close() {
	if in.payments != nil {
		in.payments.Close()
	}
	if in.authenticator != nil {
		in.authenticator.Close()
	}
	if in.pools != nil {
		in.pools.Close()
	}
	if in.tracing != nil {
		ctx, cancel := context.WithTimeout(context.Background(), traceFlushTimeout)
		defer cancel()
		if err := in.tracing.Shutdown(ctx); err != nil {
			in.logger.Warn("sending the last spans", "error", err)
		}
	}
}

// expire cancels authorizations whose time is over. Until it has come to one, nobody can capture it either: that is decided
// by the database's clock.
func (in *instance) expire(ctx context.Context) {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for expired := expireBatchSize; expired == expireBatchSize; {
			var err error
			if expired, err = in.payments.ExpireAuthorizations(ctx, expireBatchSize); err != nil {
				if ctx.Err() == nil {
					in.logger.Warn("expiring authorizations", "error", err)
				}
				break
			}
		}
	}
}

// reap deletes answers whose retention is over. Whether an answer has expired is decided when it is asked for, by the
// database's clock; this only gives the space back.
func (in *instance) reap(ctx context.Context) {
	ticker := time.NewTicker(min(in.config.retention, reapIntervalMax))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for deleted := int64(reapBatchSize); deleted == reapBatchSize; {
			var err error
			deleted, err = idempotency.Reap(ctx, in.pools.General, in.config.retention, reapBatchSize)
			if err != nil && ctx.Err() == nil {
				in.logger.Warn("reaping answers", "error", err)
			}
		}
	}
}
