package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	deliveriesMax   = 8 // at once
	deliveryTimeout = 10 * time.Second
	retryDelayMax   = 15 * time.Second
)

// sender delivers events until the receiver answers 2xx. The outbox is in the books, so
// a restart goes on with it.
type sender struct {
	ctx     context.Context
	books   *books
	dice    *dice
	options Options
	log     *slog.Logger
	client  *http.Client
	work    *sync.WaitGroup
	slots   chan struct{}

	mu      sync.Mutex
	url     string
	changed chan struct{} // closed when the url is set
}

func newSender(s *Server) *sender {
	return &sender{
		ctx: s.ctx, books: s.books, dice: &s.dice, options: s.options, log: s.log,
		client: &http.Client{
			Timeout:   deliveryTimeout,
			Transport: &http.Transport{MaxIdleConnsPerHost: deliveriesMax},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		work: &s.work, slots: make(chan struct{}, deliveriesMax),
		url: s.options.WebhookURL, changed: make(chan struct{}),
	}
}

func (s *sender) setURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
	close(s.changed)
	s.changed = make(chan struct{})
}

// target is the webhook's URL, and a channel that is closed when there is another one.
func (s *sender) target() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url, s.changed
}

// add delivers events of a committed transaction.
func (s *sender) add(ids []string) {
	for _, id := range ids {
		s.start(id, s.dice.delivery())
	}
}

// addBeforeAnswer is add for a request that is not answered yet. It returns when the early
// events have been sent.
func (s *sender) addBeforeAnswer(ids []string) {
	for _, id := range ids {
		d := s.dice.delivery()
		if d.early && !d.lost {
			if err := s.send(id); err != nil {
				s.log.Info("an early event was not taken", "event", id, "error", err)
			} else if !d.twice {
				continue
			}
		}
		s.start(id, d)
	}
}

// start delivers an event in the background.
func (s *sender) start(id string, d delivery) {
	s.work.Go(func() {
		if d.lost {
			s.forget(id)
			return
		}
		if !s.pause(d.delay) {
			return
		}
		wait := s.options.Delays.Retry
		for {
			err := s.sendInTurn(id)
			if err == nil && !d.twice {
				return
			}
			d.twice = d.twice && err != nil
			if err == nil {
				continue
			}
			s.log.Info("an event was not taken", "event", id, "error", err, "retry_in", wait)
			if !s.pause(wait) {
				return
			}
			wait = min(2*wait, retryDelayMax)
		}
	})
}

// pause waits. It returns false if the simulator ends.
func (s *sender) pause(d time.Duration) bool {
	select {
	case <-s.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// sendInTurn waits for a URL and for one of the slots.
func (s *sender) sendInTurn(id string) error {
	for {
		url, changed := s.target()
		if url != "" {
			break
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	return s.send(id)
}

var errDown = errors.New("the processor is down")

// send sends an event once. If it is taken, it leaves the outbox.
func (s *sender) send(id string) error {
	url, _ := s.target()
	if url == "" || s.dice.get().Down {
		return errDown
	}
	var row event
	err := s.books.view(func(e *entry) (err error) {
		row, err = get[event](e, bucketEvents, id)
		return err
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, url,
		bytes.NewReader(row.Body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "Stripe/1.0 (simulator)")
	request.Header.Set("Stripe-Signature",
		signature(s.options.WebhookSecret, time.Now(), row.Body))
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answered %s", response.Status)
	}
	s.forget(id)
	return nil
}

// forget takes an event out of the outbox. If that fails, it is sent again at the next
// start, which its receiver must bear.
func (s *sender) forget(id string) {
	_, err := s.books.update(func(e *entry) error {
		return e.tx.Bucket([]byte(bucketOutbox)).Delete([]byte(id))
	})
	if err != nil {
		s.log.Error("an event could not be taken out of the outbox", "event", id, "error", err)
	}
}
