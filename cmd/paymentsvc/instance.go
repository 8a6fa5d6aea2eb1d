package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

const (
	databaseWait       = 10 * time.Second // for a database that is still starting
	transactionTimeout = 10 * time.Second // of a batch, with all of its tries; see postgres.Committer
	headerTimeout      = 5 * time.Second
	idleTimeout        = 2 * time.Minute
	headerSizeMax      = 32 << 10

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
	listener      net.Listener
}

// startInstance connects to the migrated database at url, makes sure that money may run on it, and begins to listen. The
// instance serves once serve is called.
func startInstance(ctx context.Context, config instanceConfig, url string, logger *slog.Logger) (_ *instance, err error) {
	in := &instance{config: config, logger: logger}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	in.pools, err = postgres.Open(ctx, postgres.Options{URL: url, GeneralSize: config.readConnections, MoneySize: config.workers})
	if err != nil {
		return nil, err
	}
	in.health = newHealth(in.pools, config.allowDataLoss, logger)
	if err := in.health.waitUntilFit(ctx, databaseWait); err != nil {
		return nil, err
	}
	in.authenticator = merchants.NewAuthenticator(in.pools.General)
	in.payments = payments.New(payments.Config{
		Pools:        in.pools,
		Render:       httpapi.Render,
		Retention:    config.retention,
		Workers:      config.workers,
		BatchSizeMax: config.batchSizeMax,
		QueueSizeMax: config.queueSizeMax,
		Timeout:      transactionTimeout,
		Logger:       logger,
	})
	in.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", config.listenAddr)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return in, nil
}

// address is where the API listens.
func (in *instance) address() string { return in.listener.Addr().String() }

// serve answers requests until ctx ends; then it stops being ready, lets accepted requests finish, and returns. An error
// means that it could not serve, or that requests were still running at the shutdown timeout.
func (in *instance) serve(ctx context.Context) error {
	defer in.close()
	server := &http.Server{
		Handler: httpapi.New(httpapi.Config{
			Payments:       in.payments,
			Accounts:       in.pools.General,
			Authenticator:  in.authenticator,
			RateLimit:      in.config.rateLimit,
			Ready:          in.health.ready,
			Unavailable:    postgres.Unavailable,
			RequestTimeout: in.config.requestTimeout,
			Logger:         in.logger,
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       in.config.requestTimeout,
		WriteTimeout:      in.config.requestTimeout + headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerSizeMax,
		ErrorLog:          slog.NewLogLogger(in.logger.Handler(), slog.LevelDebug),
	}
	background, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	workers.Go(func() { in.health.watch(background) })
	workers.Go(func() { in.reap(background) })

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(in.listener) }()
	in.logger.Info("serving", "address", in.address())
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return in.shutDown(server)
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
