package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/client"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

const patience = 20 * time.Second

// intent is what a caller has stored before he calls: the key, and the request.
type intent struct {
	key    client.Key
	charge client.Charge
	answer *client.PaymentReply // nil: not known yet
}

// callers charge, each one charge after the other, and remember what they were told.
type callers struct {
	*testing.T
	client *client.Client

	mu      sync.Mutex
	intents []*intent // guarded by mu
	settled atomic.Int64
	unknown atomic.Int64 // calls that ended without knowing
	retried atomic.Int64 // calls that know, but not from their first attempt
}

func (c *callers) newIntent() *intent {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.intents)
	charge := client.Charge{Amount: int64(n + 1), Currency: journal.Currency, SourceAccount: journal.World}
	charge.DestinationAccount = journal.Shops[n%len(journal.Shops)]
	in := &intent{key: client.NewKey(), charge: charge}
	c.intents = append(c.intents, in)
	return in
}

// call calls once for an intent, with all that the client does on its own.
func (c *callers) call(in *intent) {
	reply, err := c.client.Charge(context.Background(), in.key, in.charge)
	switch {
	case err == nil:
		if reply.Attempts > 1 {
			c.retried.Add(1)
		}
		in.answer = reply
		c.settled.Add(1)
	case errors.Is(err, client.ErrUnknownOutcome):
		c.unknown.Add(1)
	default:
		c.Errorf("key %s: the network is broken, and nothing else: %v", in.key, err)
	}
}

// charge lets n callers charge until stop is called.
func (c *callers) charge(n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for range n {
		working.Go(func() {
			for ctx.Err() == nil {
				c.call(c.newIntent())
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
	})
	c.Cleanup(stop)
	return stop
}

func (c *callers) await(n int64, what string) {
	c.Helper()
	until := c.settled.Load() + n
	await.Until(c, patience, what, func() bool { return c.settled.Load() >= until })
}

// judge holds what callers were told against the payments that are there.
func (c *callers) judge(db *pgtest.DB, merchantID int64) {
	c.Helper()
	rows, err := db.Pool.Query(c.Context(), `
		SELECT idempotency_key, 'pay_' || replace(id::text, '-', ''), amount FROM payments
		WHERE merchant_id = $1 AND status = 'succeeded'`, merchantID)
	if err != nil {
		c.Fatal(err)
	}
	type payment struct {
		Key, ID string
		Amount  int64
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByPos[payment])
	if err != nil {
		c.Fatal(err)
	}
	byKey := map[string][]payment{}
	for _, p := range stored {
		byKey[p.Key] = append(byKey[p.Key], p)
	}
	for _, in := range c.intents {
		want := payment{string(in.key), in.answer.ID, in.charge.Amount}
		if got := byKey[string(in.key)]; len(got) != 1 || got[0] != want {
			c.Errorf("told %v, stored %v", want, got)
		}
	}
	if len(stored) != len(c.intents) {
		c.Errorf("%d intents and %d payments", len(c.intents), len(stored))
	}
	c.Logf("%d intents, %d of them settled by a later attempt, %d times unknown", len(c.intents), c.retried.Load(), c.unknown.Load())
}

func TestEveryIntentIsOnePaymentAlthoughTheServiceIsKilled(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	fleet := service.StartFleet(t, 1, db.URL, service.AllowDataLoss)
	merchant := journal.NewMerchant(t, fleet.Instances()[0], db.URL)
	door := startDoor(t, fleet.Pick)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections) // before the door, which waits for it
	wire := &recorder{next: transport}
	c := &callers{T: t, client: newClient(t, client.Options{
		URL: door, APIKey: merchant.APIKey, Transport: wire,
		// Not enough to ride out every restart: some calls have to end without knowing.
		AttemptsMax: 4, BackoffBase: 50 * time.Millisecond, BackoffMax: 200 * time.Millisecond, RetryBudget: 1_000_000,
	})}
	stop := c.charge(12)
	for range 4 {
		c.await(50, "callers are served")
		await.Until(t, patience, "requests are under way", func() bool { return wire.busy() >= 3 })
		fleet.Instances()[0].Kill()
		fleet.Restart(0).AwaitReady(patience)
	}
	c.await(50, "callers are served again")
	stop()
	for _, in := range c.intents { // as a caller does who finds his own notes after a crash
		if in.answer == nil {
			c.call(in)
		}
		if in.answer == nil {
			t.Fatalf("key %s: unknown still, with nothing broken any more", in.key)
		}
	}
	c.judge(db, merchant.ID)
	wire.checkKeys(t)
	if wire.failed == 0 || c.retried.Load() == 0 {
		t.Error("nothing was lost, so this test shows nothing")
	}
}

// Each charge was carried out, and its answer lost on the way: each second attempt is a replay.
func TestALostAnswerIsReplayed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	for name, spoil := range map[string]func(*http.Response) (*http.Response, error){
		"no answer": func(r *http.Response) (*http.Response, error) {
			_ = r.Body.Close()
			return nil, fmt.Errorf("lost by the test: %w", io.EOF)
		},
		"half an answer": func(r *http.Response) (*http.Response, error) {
			half := io.LimitReader(r.Body, r.ContentLength/2)
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(half, broken{}), r.Body}
			return r, nil
		},
		"a gateway's page": func(r *http.Response) (*http.Response, error) {
			_ = r.Body.Close()
			return page(http.StatusGatewayTimeout).response(r.Request)
		},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			wire := &recorder{next: transport, spoil: func(nth int, r *http.Response) (*http.Response, error) {
				if nth%2 == 0 {
					return r, nil
				}
				if r.Header.Get("Idempotent-Replayed") != "" {
					t.Error("the first attempt was a replay")
				}
				return spoil(r)
			}}
			options := quick(b.url)
			options.APIKey, options.Transport = b.apiKey, wire
			c := newClient(t, options)
			for i := range 20 {
				paid, err := c.Charge(t.Context(), client.NewKey(), client.Charge{
					Amount: int64(i + 1), Currency: "USD", SourceAccount: "world", DestinationAccount: "shop",
				})
				if err != nil {
					t.Fatal(err)
				}
				if !paid.Replayed || paid.Attempts != 2 || paid.Amount != int64(i+1) {
					t.Errorf("charge %d: %+v", i, paid)
				}
			}
			wire.checkKeys(t)
		})
	}
	b.balance("shop", 3*20*21/2, 0)
	if n := len(collect(t, b.Payments(t.Context(), client.PaymentFilter{}))); n != 60 {
		t.Errorf("%d payments", n)
	}
}

// broken is a body that ends too soon.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// startDoor is a TCP door that stays where it is while the instances behind it come and go. Connections break as theirs do.
func startDoor(t *testing.T, pick func() string) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			caller, err := listener.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { pass(caller, strings.TrimPrefix(pick(), "http://")) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		passing.Wait() // for callers' and instances' ends, which come first
	})
	return "http://" + listener.Addr().String()
}

// pass lets two parties talk until one of them ends it.
func pass(caller net.Conn, address string) {
	defer caller.Close()
	instance, err := net.Dial("tcp", address)
	if err != nil {
		_ = caller.(*net.TCPConn).SetLinger(0) // a reset, as from a machine on which nobody listens
		return
	}
	defer instance.Close()
	var talking sync.WaitGroup
	defer talking.Wait()
	talking.Go(func() {
		_, _ = io.Copy(instance, caller)
		_ = instance.Close()
	})
	_, _ = io.Copy(caller, instance)
	_ = caller.Close()
}
