package app

import (
	"context"
	"sync"

	"github.com/paymentsvc/paymentsvc/internal/broker"
)

// startBroker takes requests by message and publishes events until ctx ends or stop is
// called. stop returns when requests that had begun are finished.
func (in *Instance) startBroker(ctx context.Context) (stop func()) {
	if in.config.NATS.URL == "" {
		in.logger.Info("there are no messages, because NATS_URL is not set")
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		broker.Run(ctx, broker.Config{
			Settings: in.config.NATS,
			Charge:   in.chargeByMessage,
			Ready:    in.readyToCharge,
			Pool:     in.Pools.General,
			Feed:     in.Feed,
			Changed:  in.changed.Changed,
			Busy:     in.busy,
			Observer: in.metrics.Broker(),
			Logger:   in.logger,
		})
	})
	return func() {
		cancel()
		running.Wait()
	}
}
