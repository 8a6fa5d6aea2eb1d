package messages

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// The service starts and charges while the broker is away, and takes requests when the
// broker is there.
func TestServiceChargesWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.must(b.broker.Kill(t.Context()))
	b.fleet = service.StartFleet(t, 1, b.db.URL, service.AllowDataLoss,
		"NATS_URL="+b.broker.URL())
	b.merchant = journal.NewMerchant(t, b.instance(0), b.db.URL)
	for round := range 3 {
		key := fmt.Sprint("key-", round)
		answer := b.merchant.Charge(t.Context(), b.instance(0).URL(), key,
			journal.NewCharge(100))
		if answer.Class() != journal.Ack {
			t.Errorf("a charge while the broker is away: %v", answer)
		}
		b.must(b.broker.Restart(t.Context()))
		if round == 0 {
			b.awaitStreams()
		}
		b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", key)
		answers := b.awaitAnswers(outcomes, key, 1)
		b.wantOnePayment(key, answers...)
		if string(answers[0].Data) != string(answer.Body) {
			t.Errorf("by message it is %s, by HTTP %s", answers[0].Data, answer.Body)
		}
		b.must(b.broker.Kill(t.Context()))
	}
	if code := b.instance(0).Terminate(); code != 0 {
		t.Errorf("the instance ended with %d while the broker was away", code)
	}
}

// While the database takes no writes, requests wait at the broker.
func TestRequestsWaitForADatabaseThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.prepare(3 * time.Second) // for a request that is sent when the instance stops asking
	b.start(1)
	admin, err := pgx.Connect(t.Context(), b.db.AdminURL)
	b.must(err)
	defer admin.Close(t.Context())
	alter := func(change string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), `
			DO $$ BEGIN
				SET default_transaction_read_only = off;
				EXECUTE format('ALTER DATABASE %I `+change+`', current_database());
			END $$;
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name LIKE 'paymentsvc%' AND datname = current_database()`)
		b.must(err)
	}
	alter("SET default_transaction_read_only = on")
	b.instance(0).AwaitNotReady(patience)
	const n = 100
	for i := range n {
		b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", fmt.Sprint(i))
	}
	await.Until(t, patience, "the instance gives requests back", func() bool {
		return b.instance(0).Stderr.Count("the instance is not ready to charge") > 0
	})
	alter("RESET default_transaction_read_only")
	b.awaitTaken()
	for i := range n {
		b.wantOnePayment(fmt.Sprint(i), b.ofKey(outcomes, fmt.Sprint(i))...)
	}
	if n := len(b.stored(parked)); n != 0 {
		t.Errorf("%d requests are parked", n)
	}
}

// An instance that is told to end finishes the requests that it has begun. It gives the
// others back at once, and does not leave them to the AckWait, which is longer than this
// test waits.
func TestInstanceThatEndsGivesRequestsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	release := b.holdCharges()
	const n = 100 // more than an instance works on at once
	for i := range n {
		b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", fmt.Sprint(i))
	}
	await.Until(t, patience, "more requests than that have arrived", func() bool {
		consumer, err := b.js.Consumer(t.Context(), requests, consumerName)
		return err == nil && consumer.CachedInfo().NumPending <= 20
	})
	first := b.instance(0)
	first.Signal(syscall.SIGTERM)
	first.AwaitNotReady(patience)
	b.fleet.Restart(0)
	release()
	b.awaitTaken()
	for i := range n {
		b.wantOnePayment(fmt.Sprint(i), b.ofKey(outcomes, fmt.Sprint(i))...)
	}
	if code := first.ExitCode(); code != 0 {
		t.Errorf("the instance ended with %d", code)
	}
}

// Without a broker the service says so, once.
func TestServiceWithoutABrokerSaysSo(t *testing.T) {
	t.Parallel()
	in := service.Start(t, pgtest.New(t).URL, service.AllowDataLoss)
	if n := in.Stderr.Count("there are no messages, because NATS_URL is not set"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
}

// A consumer that an operator has made stays as it is.
func TestConsumerOfAnOperatorStaysAsItIs(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	const ackWait = 7 * time.Second
	b.prepare(ackWait)
	b.start(2)
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
	consumer, err := b.js.Consumer(t.Context(), requests, consumerName)
	b.must(err)
	if got := consumer.CachedInfo().Config.AckWait; got != ackWait {
		t.Errorf("the consumer's AckWait is %v, and was %v", got, ackWait)
	}
}
