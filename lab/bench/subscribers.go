package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/natsserver"
)

// drainPatience is for the deliveries that are left when a measurement is over.
const drainPatience = 5 * time.Minute

// subscribed is a service whose events go to a webhook endpoint and to a NATS server. The
// receiver belongs to this process, so its CPU time counts as the client's.
type subscribed struct {
	*service
	received *atomic.Int64 // deliveries
	made     int64         // charges, each of which is an event
}

// startSubscribed starts a service with one webhook endpoint and one NATS server.
func (s *site) startSubscribed(ctx context.Context, b books) (*subscribed, error) {
	broker, err := natsserver.Start(ctx, natsserver.Options{
		Dir: filepath.Join(s.dir, "nats"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	s.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), endPatience)
		defer cancel()
		return broker.Stop(ctx)
	})
	served, err := s.startService(ctx, b, []string{s.program, "serve"},
		"NATS_URL="+broker.URL(), "WEBHOOK_ALLOW_PRIVATE_ADDRESSES=true")
	if err != nil {
		return nil, err
	}
	receiver, received, err := s.startReceiver(ctx)
	if err != nil {
		return nil, err
	}
	return &subscribed{service: served, received: received}, served.subscribe(ctx, receiver)
}

// startReceiver takes deliveries and counts them.
func (s *site) startReceiver(ctx context.Context) (url string, _ *atomic.Int64, _ error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("opening a port for deliveries: %w", err)
	}
	received := &atomic.Int64{}
	server := &http.Server{
		ReadHeaderTimeout: answerPatience,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				received.Add(1)
			}
			w.WriteHeader(http.StatusNoContent)
		}),
	}
	go func() { _ = server.Serve(listener) }() // ends with the site
	s.onClose(server.Close)
	return "http://" + listener.Addr().String(), received, nil
}

// subscribe makes a webhook endpoint for all events.
func (s *service) subscribe(ctx context.Context, receiver string) error {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	body := strings.NewReader(`{"url":"` + receiver + `"}`)
	r, err := http.NewRequestWithContext(ctx, http.MethodPut,
		"http://"+s.address+"/webhook-endpoints/bench", body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+s.apiKeys[0])
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return fmt.Errorf("subscribing: %s", answer.Status)
	}
	return nil
}

// charge also waits, after the measurement, until every event is delivered. Else the next
// contender would be measured beside the deliveries of this one.
func (s *subscribed) charge(ctx context.Context, l load, observe observer) ([]charge, error) {
	charges, err := s.service.charge(ctx, l, observe)
	if err != nil {
		return nil, err
	}
	s.made += int64(len(charges))
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	for s.received.Load() < s.made {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("waiting for the webhook deliveries, %d of %d came: %w",
				s.received.Load(), s.made, err)
		}
	}
	return charges, nil
}
