package messages

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// The charge is held until the message was delivered a hundred times, to both
// instances. Then the broker hears nothing, so that one instance dies after its COMMIT
// and before its acknowledgement.
func TestRequestDeliveredAHundredTimesChargesOnce(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.prepare(20 * time.Millisecond)
	b.start(2)
	release := b.holdCharges()
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	await.Until(t, patience, "a hundred deliveries", func() bool {
		consumer, err := b.js.Consumer(t.Context(), requests, consumerName)
		return err == nil && consumer.CachedInfo().Delivered.Consumer >= 100
	})
	thaw := b.freeze()
	defer thaw()
	release()
	await.Until(t, patience, "the COMMIT", func() bool { return b.payments("key") > 0 })
	b.instance(0).Kill()
	thaw()
	b.awaitTaken()
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
}

// The broker dies before the COMMIT, and the instance after it. So nobody was told, and
// the charge has to be found by its key.
func TestAnotherInstanceAnswersForOneThatDiedAfterItsCommit(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.prepare(2 * time.Second)
	b.start(1)
	release := b.holdCharges()
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	b.awaitHeld(1)
	b.must(b.broker.Kill(t.Context()))
	release()
	await.Until(t, patience, "the COMMIT", func() bool { return b.payments("key") > 0 })
	b.instance(0).Kill()
	b.must(b.broker.Restart(t.Context()))
	b.fleet.Restart(0)
	answers := b.awaitAnswers(outcomes, "key", 1)
	b.wantOnePayment("key", answers...)
	if header := answers[0].Header; header.Get("Idempotent-Replayed") != "true" ||
		header.Get("Original-Request-Id") == header.Get("Request-Id") {
		t.Errorf("the answer was made by the dead instance, and its header is %v", header)
	}
	b.awaitTaken()
}

// A request is acknowledged after its COMMIT and not before.
func TestRequestOfAnInstanceThatDiedBeforeItsCommitIsCharged(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.prepare(time.Second)
	b.start(1)
	release := b.holdCharges()
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	b.awaitHeld(1)
	b.instance(0).Kill()
	release()
	b.fleet.Restart(0)
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
	b.awaitTaken()
}

// The broker has the outcome before the request is acknowledged.
func TestRequestIsKeptUntilTheBrokerHasItsOutcome(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	full, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: outcomes, Subjects: []string{"payments.outcomes.*"},
		MaxMsgs: 1, Discard: jetstream.DiscardNew,
	})
	b.must(err)
	b.start(1)
	b.publishTo("payments.outcomes.1", nil)
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	await.Until(t, patience, "outcomes are refused", func() bool {
		return b.instance(0).Stderr.Count("an outcome could not be published") > 1
	})
	if n := len(b.stored(requests)); n != 1 || b.payments("key") != 1 {
		t.Errorf("%d requests are stored and %d payments, want one of each", n,
			b.payments("key"))
	}
	b.must(full.Purge(t.Context()))
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
	b.awaitTaken()
}

// An instance makes the stream of outcomes again if it was deleted.
func TestOutcomeIsPublishedAfterItsStreamWasDeleted(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.must(b.js.DeleteStream(t.Context(), outcomes))
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
	b.awaitTaken()
}

// The broker limits the headers of a message, and its whole length. The answer to a long
// message leaves out what would make it too long.
func TestLongMessagesAreParked(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	long := strings.Repeat("x", 63<<10)
	b.publish([]byte(long), "Idempotency-Key", "key")
	b.publish([]byte("{}"), "Idempotency-Key", long)
	b.publish([]byte(long), "Idempotency-Key", long)
	b.publish([]byte(long[:44<<10]), "Idempotency-Key", "shorter")
	b.awaitTaken()
	all := b.stored(parked)
	if len(all) != 4 {
		t.Fatalf("%d messages are parked, want 4", len(all))
	}
	for _, message := range all {
		header := message.Header
		if header.Get("Parked-Reason") == "" {
			t.Errorf("a parked message has no reason: %s", message.Data)
		}
		if header.Get("Idempotency-Key") == "shorter" && header.Get("Parked-Body") == "" {
			t.Error("a body of 44 KiB was not kept")
		}
	}
}

func TestOneKeyByHTTPAndByMessageAtOnceIsOneCharge(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	body := journal.NewCharge(100).Body()
	const keys = 30
	var sending sync.WaitGroup
	var answers [keys]journal.Answer
	for i := range keys {
		key := fmt.Sprint("key-", i)
		sending.Go(func() {
			answers[i] = b.merchant.Charge(t.Context(), b.fleet.Pick(), key,
				journal.NewCharge(100))
		})
		b.publish(body, "Idempotency-Key", key)
	}
	sending.Wait()
	first := 0 // how often the message was
	for i, byHTTP := range answers {
		key := fmt.Sprint("key-", i)
		byMessage := b.awaitAnswers(outcomes, key, 1)
		b.wantOnePayment(key, byMessage...)
		if string(byHTTP.Body) != string(byMessage[0].Data) {
			t.Errorf("key %s was answered %v by HTTP, and %s by message", key, byHTTP,
				byMessage[0].Data)
		}
		if byHTTP.Replayed() == (byMessage[0].Header.Get("Idempotent-Replayed") == "true") {
			t.Errorf("key %s: want one of the two answers marked as a replay", key)
		}
		if byHTTP.Replayed() {
			first++
		}
	}
	t.Logf("the message was first for %d of %d keys", first, keys)
	other := b.merchant.Charge(t.Context(), b.fleet.Pick(), "key-0", journal.NewCharge(7))
	if other.Code() != "idempotency_key_reused" {
		t.Errorf("another request by HTTP under the key of a message: %v", other)
	}
}

// A message without an Idempotency-Key has its Nats-Msg-Id for a key. The broker drops
// a repeated id only for a while, and after a restart it has forgotten those of
// requests that were acknowledged.
func TestRequestPublishedAgainAfterTheBrokerForgotItChargesOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	body := journal.NewCharge(100).Body()
	b.publish(body, "Nats-Msg-Id", "key")
	b.awaitAnswers(outcomes, "key", 1)
	b.awaitTaken()
	if again := b.publish(body, "Nats-Msg-Id", "key"); !again.Duplicate {
		t.Error("the broker did not recognise the request within its window")
	}
	b.must(b.broker.Kill(t.Context()))
	b.must(b.broker.Restart(t.Context()))
	if again := b.publish(body, "Nats-Msg-Id", "key"); again.Duplicate {
		t.Error("the broker still knows the request, so this test shows nothing")
	}
	answers := b.awaitAnswers(outcomes, "key", 2)
	b.wantOnePayment("key", answers...)
	if answers[1].Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the second answer has the header %v", answers[1].Header)
	}
}

// Refusals of requests that were read are outcomes. Messages that cannot be read are
// parked.
func TestEveryMessageIsAnsweredOnItsSubject(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	own := fmt.Sprint("payments.requests.", b.merchant.ID)
	good := string(journal.NewCharge(100).Body())
	change := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	twoKeys, plainText := []string{"idempotency-key", "9"}, []string{"Content-Type", "text/plain"}
	reference := change(`{`, `{"reference":"order-1",`)
	for _, c := range []struct {
		subject, key, body string
		header             []string
		stream, status     string
		code               string
	}{
		{own, "1", good, nil, outcomes, "201", ""},
		{own, "1", change("100", "101"), nil, outcomes, "422", "idempotency_key_reused"},
		{own, "2", change("world", "poor"), nil, outcomes, "402", "insufficient_funds"},
		{own, "3", change("world", "nobody"), nil, outcomes, "422", "account_not_found"},
		{own, "4", change("100", "0"), nil, outcomes, "422", "unprocessable"},
		{own, "5", reference, nil, outcomes, "201", ""},
		{own, "6", reference, nil, outcomes, "409", "duplicate_reference"},

		{own, "7", "{", nil, parked, "400", "invalid_request"},
		{own, "", good, nil, parked, "400", "idempotency_key_missing"},
		{own, "a, b", good, nil, parked, "400", "idempotency_key_invalid"},
		{own, "8", good, twoKeys, parked, "400", "idempotency_key_invalid"},
		{own, "10", good, plainText, parked, "415", "unsupported_media_type"},
		{own, "11", strings.Repeat(" ", 65<<10) + good, nil, parked, "413", "payload_too_large"},
		{"payments.requests.1", "12", good, nil, parked, "404", "not_found"},
		{"payments.requests.0" + own[18:], "13", good, nil, parked, "404", "not_found"},
		{"payments.requests.shop", "14", good, nil, parked, "404", "not_found"},
	} {
		header := c.header
		if c.key != "" {
			header = append(header, "Idempotency-Key", c.key)
		}
		before := len(b.stored(c.stream))
		b.publishTo(c.subject, []byte(c.body), header...)
		await.Until(t, patience, "an answer to "+c.key, func() bool {
			return len(b.stored(c.stream)) > before
		})
		got := b.stored(c.stream)[before]
		if got.Header.Get("Http-Status") != c.status ||
			!strings.Contains(string(got.Data), `"code":"`+c.code) && c.code != "" {
			t.Errorf("key %s was answered %v %s, want %s %s", c.key, got.Header, got.Data,
				c.status, c.code)
		}
		if want := strings.Replace(c.subject, "requests",
			strings.ToLower(strings.TrimPrefix(c.stream, "PAYMENTS_")), 1); got.Subject != want {
			t.Errorf("key %s was answered on %s, want %s", c.key, got.Subject, want)
		}
		if c.stream == parked && got.Header.Get("Parked-Reason") != c.code {
			t.Errorf("key %s is parked with the header %v", c.key, got.Header)
		}
	}
	b.awaitTaken() // parked messages are not delivered again
	if n := len(b.stored(outcomes)) + len(b.stored(parked)); n != 16 {
		t.Errorf("16 messages have %d answers", n)
	}
}

// A request whose outcome is not known in time comes again until it is known.
func TestRequestWhoseOutcomeIsUnknownComesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1, "REQUEST_TIMEOUT=1s")
	release := b.holdCharges()
	b.publish(journal.NewCharge(100).Body(), "Idempotency-Key", "key")
	await.Until(t, patience, "the request was put off", func() bool {
		consumer, err := b.js.Consumer(t.Context(), requests, consumerName)
		return err == nil && consumer.CachedInfo().Delivered.Consumer >= 2
	})
	if n := len(b.stored(outcomes)); n != 0 {
		t.Errorf("%d outcomes of a charge that is not done", n)
	}
	release()
	b.wantOnePayment("key", b.awaitAnswers(outcomes, "key", 1)...)
	b.awaitTaken()
}
