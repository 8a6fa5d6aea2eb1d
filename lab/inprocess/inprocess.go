// Package inprocess runs an instance of the service in the test's own process.
//
//	in := inprocess.Start(t, db.URL)
//	merchant := journal.NewMerchant(t, in, db.URL)
//
// Package app wires the instance, as it does for the real program. Two things differ.
// The background workers do not run: a test calls their work itself, at the moment it
// chooses. The log stays in memory. To kill or freeze an instance, a test needs a
// process: see package service.
package inprocess

import (
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/lab/contract"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// Instance is one wired service.
type Instance struct {
	*app.Instance
	Log service.Output // everything it logged, also at the level debug

	server *httptest.Server // nil: New
}

// New wires an instance on the database of a test, with the defaults of paymentsvc and
// these changes. A test serves its Handler itself. The instance is closed after the
// test.
func New(t testing.TB, databaseURL string, changes ...func(*app.Config)) *Instance {
	t.Helper()
	config := app.Config{
		Retention:             720 * time.Hour,
		EventRetention:        2160 * time.Hour,
		AuthorizationLifetime: 168 * time.Hour,
		EventStreamsMax:       100,
		RequestTimeout:        15 * time.Second,
		Workers:               2,
		BatchSizeMax:          512,
		QueueSizeMax:          10_000,
		ReadConnections:       4,
		LogLevel:              slog.LevelDebug,
		AllowDataLoss:         true, // the server of pgtest.New runs without fsync
		ShardedUntried:        true, // the suites are the same in sharded mode
	}
	for _, change := range changes {
		change(&config)
	}
	in := &Instance{}
	logger := slog.New(slog.NewTextHandler(&in.Log, &slog.HandlerOptions{Level: config.LogLevel}))
	var err error
	if in.Instance, err = app.New(t.Context(), config, databaseURL, logger); err != nil {
		t.Fatalf("wiring an instance: %v", err)
	}
	t.Cleanup(in.Close)
	return in
}

// Start is New, and serves the API until the test is over. Everything that is asked and
// answered is compared with the published contract.
func Start(t testing.TB, databaseURL string, changes ...func(*app.Config)) *Instance {
	t.Helper()
	in := New(t, databaseURL, changes...)
	in.server = httptest.NewServer(contract.Published().Comparing(t, in.Handler))
	t.Cleanup(in.server.Close)
	return in
}

// URL is where Start serves the API.
func (in *Instance) URL() string { return in.server.URL }
