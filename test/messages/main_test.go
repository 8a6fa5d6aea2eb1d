// Package messages runs instances of the service beside a real NATS server, and kills
// either of them while requests come in and events go out.
//
//	requests_test.go  requests by message: redelivered, repeated, refused, parked
//	cards_test.go     a charge by card, which takes longer than its request waits
//	outage_test.go    the broker is away, and comes back
//	tls_test.go       the connection to the broker
//	events_test.go    events go out while the broker is killed
//	example_test.go   examples/consumer is killed while it reads events
package messages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/natsserver"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is for anything that a working system does soon.
const patience = 20 * time.Second

// The names that docs/operations.md gives.
const (
	requests     = "PAYMENTS_REQUESTS"
	outcomes     = "PAYMENTS_OUTCOMES"
	parked       = "PAYMENTS_PARKED"
	events       = "PAYMENTS_EVENTS"
	consumerName = "paymentsvc"
)

// bench is a broker, and instances on one database that use it.
type bench struct {
	*testing.T
	db       *pgtest.DB
	broker   *natsserver.Server
	natsURL  string // for the instances
	js       jetstream.JetStream
	fleet    *service.Fleet
	merchant *journal.Merchant
}

func newBench(t *testing.T, instances int, settings ...string) *bench {
	t.Helper()
	b := newBroker(t)
	b.start(instances, settings...)
	return b
}

// newBroker is a bench without instances, for tests that prepare the broker.
func newBroker(t *testing.T) *bench {
	t.Helper()
	b := startBroker(t, "")
	b.connect(b.broker.URL())
	return b
}

func startBroker(t *testing.T, configFile string) *bench {
	t.Helper()
	b := &bench{T: t, db: pgtest.New(t)}
	var err error
	b.broker, err = natsserver.Start(t.Context(), natsserver.Options{
		Dir: t.TempDir(), ConfigFile: configFile, Logger: slog.New(slog.DiscardHandler),
	})
	b.must(err)
	t.Cleanup(func() { _ = b.broker.Kill(context.Background()) })
	return b
}

// connect connects the test itself to the broker.
func (b *bench) connect(url string, options ...nats.Option) {
	b.Helper()
	b.natsURL = url
	connection, err := nats.Connect(url, append(options, nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond))...)
	b.must(err)
	b.Cleanup(connection.Close)
	b.js, err = jetstream.New(connection)
	b.must(err)
}

// start starts the instances, and a merchant whom they serve.
func (b *bench) start(instances int, settings ...string) {
	b.Helper()
	settings = append(settings, service.AllowDataLoss, "NATS_URL="+b.natsURL)
	b.fleet = service.StartFleet(b, instances, b.db.URL, settings...)
	b.merchant = journal.NewMerchant(b, b.instance(0), b.db.URL)
	b.awaitStreams()
}

// awaitStreams waits until an instance has made its streams and its consumer.
func (b *bench) awaitStreams() {
	b.Helper()
	await.Until(b, patience, "the instances have made their streams and consumer", func() bool {
		for _, stream := range []string{outcomes, parked, events} {
			if _, err := b.js.Stream(b.Context(), stream); err != nil {
				return false
			}
		}
		_, err := b.js.Consumer(b.Context(), requests, consumerName)
		return err == nil
	})
}

// prepare makes the stream of requests and its consumer before an instance does.
func (b *bench) prepare(ackWait time.Duration) {
	b.Helper()
	_, err := b.js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: requests, Subjects: []string{"payments.requests.*"},
		Retention: jetstream.WorkQueuePolicy,
	})
	b.must(err)
	_, err = b.js.CreateConsumer(b.Context(), requests, jetstream.ConsumerConfig{
		Durable: consumerName, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: 1000,
	})
	b.must(err)
}

func (b *bench) instance(i int) *service.Instance { return b.fleet.Instances()[i] }

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// publish publishes a request of the merchant, and returns when the broker has stored
// it.
func (b *bench) publish(body []byte, header ...string) *jetstream.PubAck {
	b.Helper()
	return b.publishTo(fmt.Sprint("payments.requests.", b.merchant.ID), body, header...)
}

func (b *bench) publishTo(subject string, body []byte, header ...string) *jetstream.PubAck {
	b.Helper()
	message := nats.NewMsg(subject)
	message.Data = body
	for i := 0; i < len(header); i += 2 {
		message.Header.Add(header[i], header[i+1])
	}
	ack, err := b.js.PublishMsg(b.Context(), message)
	b.must(err)
	return ack
}

// stored are the messages that a stream has; nil while the broker is away.
func (b *bench) stored(stream string) (all []*jetstream.RawStreamMsg) {
	b.Helper()
	s, err := b.js.Stream(b.Context(), stream)
	if err != nil {
		return nil
	}
	state := s.CachedInfo().State
	for sequence := max(state.FirstSeq, 1); sequence <= state.LastSeq; sequence++ {
		message, err := s.GetMsg(b.Context(), sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // it was deleted
		}
		if err != nil {
			return nil
		}
		all = append(all, message)
	}
	return all
}

// ofKey are the answers to a key in a stream.
func (b *bench) ofKey(stream, key string) (answers []*jetstream.RawStreamMsg) {
	b.Helper()
	for _, message := range b.stored(stream) {
		if message.Header.Get("Idempotency-Key") == key {
			answers = append(answers, message)
		}
	}
	return answers
}

// awaitAnswers waits for n answers to a key.
func (b *bench) awaitAnswers(stream, key string, n int) (got []*jetstream.RawStreamMsg) {
	b.Helper()
	await.Until(b, patience, fmt.Sprintf("%s has %d answers to %s", stream, n, key), func() bool {
		got = b.ofKey(stream, key)
		return len(got) >= n
	})
	return got
}

// awaitTaken waits until every request is acknowledged.
func (b *bench) awaitTaken() {
	b.Helper()
	await.Until(b, patience, "every request is acknowledged", func() bool {
		s, err := b.js.Stream(b.Context(), requests)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
}

// payments counts those of a key.
func (b *bench) payments(key string) (n int) {
	b.Helper()
	b.must(b.db.Pool.QueryRow(b.Context(), `
		SELECT count(*) FROM payments WHERE merchant_id = $1 AND idempotency_key = $2`,
		b.merchant.ID, key).Scan(&n))
	return n
}

// wantOnePayment fails the test unless the key has one payment, and all answers are
// about it and have the same bytes.
func (b *bench) wantOnePayment(key string, answers ...*jetstream.RawStreamMsg) {
	b.Helper()
	if n := b.payments(key); n != 1 {
		b.Errorf("key %s has %d payments", key, n)
	}
	for _, answer := range answers {
		if answer.Header.Get("Http-Status") != "201" ||
			string(answer.Data) != string(answers[0].Data) {
			b.Errorf("key %s was answered %v %s, want 201 and the bytes %s", key, answer.Header,
				answer.Data, answers[0].Data)
		}
	}
}

// holdCharges keeps transactions that charge the shop in flight until release.
func (b *bench) holdCharges() (release func()) {
	b.Helper()
	tx, err := b.db.Pool.Begin(b.Context())
	b.must(err)
	_, err = tx.Exec(b.Context(), pgtest.TakeNextEntries, journal.Shops[0])
	b.must(err)
	release = func() { tx.Rollback(context.Background()) }
	b.Cleanup(release)
	return release
}

// awaitHeld waits until n transactions wait for a lock.
func (b *bench) awaitHeld(n int) {
	b.Helper()
	await.Until(b, patience, fmt.Sprintf("%d transactions wait", n), func() bool {
		var waiting int
		b.must(b.db.Pool.QueryRow(b.Context(), `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting))
		return waiting >= n
	})
}

// freeze stops the broker, so that no message reaches it or leaves it; thaw ends that.
func (b *bench) freeze() (thaw func()) {
	b.Helper()
	pid := b.broker.PID()
	b.must(syscall.Kill(pid, syscall.SIGSTOP))
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}
