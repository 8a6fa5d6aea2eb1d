package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Judge holds the journal against the database, and fails the test for each promise
// that was broken. It comes after Converge.
func (j *Journal) Judge(t testing.TB, databaseURL string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rows, err := stored(ctx, databaseURL, j.merchant.ID)
	if err != nil {
		t.Fatalf("reading the payments: %v", err)
	}
	complaints := slices.Concat(judge(j.intents, rows), j.idleStrikes(), j.neverDone())
	const most = 20 // of one broken promise the first examples are enough
	for _, complaint := range complaints[:min(len(complaints), most)] {
		t.Error(complaint)
	}
	t.Logf("%d keys, %s", len(j.intents), j.summary())
}

// payment is one stored payment as it is now, with a key that made or changed it and
// that key's stored answer.
type payment struct {
	key, id, requestID         string // ids as callers see them
	status                     string
	amount, captured, refunded int64
	source, destination        string
	answer                     []byte // nil: none is stored
}

func stored(ctx context.Context, databaseURL string, merchantID int64) ([]payment, error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `
		WITH keyed AS (
			SELECT merchant_id, id, idempotency_key AS key FROM payments
			UNION ALL
			SELECT merchant_id, payment_id, key
			FROM idempotency_keys WHERE scope = 'client' AND operation <> 'charge'
		)
		SELECT keyed.key, 'pay_' || replace(p.id::text, '-', ''),
			coalesce('req_' || replace(k.request_id::text, '-', ''), ''),
			p.status, p.amount, p.amount_captured, p.amount_refunded,
			p.source_account, p.destination_account, a.body
		FROM keyed
		JOIN payments p ON p.merchant_id = keyed.merchant_id AND p.id = keyed.id
		LEFT JOIN idempotency_keys k
			ON k.merchant_id = p.merchant_id AND k.scope = 'client' AND k.key = keyed.key
		LEFT JOIN idempotency_answers a
			ON a.merchant_id = p.merchant_id AND a.request_id = k.request_id
		WHERE p.merchant_id = $1`, merchantID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p payment, err error) {
		err = row.Scan(&p.key, &p.id, &p.requestID, &p.status, &p.amount, &p.captured, &p.refunded,
			&p.source, &p.destination, &p.answer)
		return p, err
	})
}

// judge lists the broken promises.
func judge(intents []*intent, payments []payment) (complaints []string) {
	byKey := map[string][]payment{}
	for _, p := range payments {
		byKey[p.key] = append(byKey[p.key], p)
	}
	for _, in := range intents {
		for _, complaint := range judgeIntent(in, byKey[in.key]) {
			complaints = append(complaints, fmt.Sprintf("key %s: %s", in.key, complaint))
		}
		delete(byKey, in.key)
	}
	for key, strays := range byKey {
		complaints = append(complaints,
			fmt.Sprintf("key %s: nobody sent it, and it has %d payments", key, len(strays)))
	}
	return complaints
}

// judgeIntent holds what was said about one key against the payments that it has.
func judgeIntent(in *intent, payments []payment) (complaints []string) {
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	if len(payments) > 1 {
		complain("doubled (I14): it has %d payments", len(payments))
	}
	var first *Answer
	for i, answer := range in.tries {
		if !judgeAnswer(answer, payments, complain) {
			continue
		}
		if first == nil {
			first = &in.tries[i]
		} else if first.Status != answer.Status || !bytes.Equal(first.Body, answer.Body) {
			complain("two answers (I14): %v, and %v", *first, answer)
		}
	}
	if len(payments) != 1 {
		if first != nil && len(payments) == 0 {
			complain("lost (I13): it was answered %v, and did nothing", *first)
		}
		return complaints
	}
	judgePayment(in, payments[0], first, complain)
	return complaints
}

// judgeAnswer judges an answer for itself, and tells whether it is final.
func judgeAnswer(answer Answer, payments []payment, complain func(string, ...any)) bool {
	if answer.Status >= 500 && answer.Status != 503 {
		complain("a fault of the database is told as %v", answer)
	}
	if answer.Status == 503 && answer.Header.Get("Retry-After") == "" {
		complain("there is no Retry-After in %v", answer)
	}
	tookEffect := func(p payment) bool { return p.requestID == answer.RequestID() }
	if answer.Denies() && slices.ContainsFunc(payments, tookEffect) {
		complain("denied (I14): this very request took effect, and was answered %v", answer)
	}
	return answer.Final()
}

// judgePayment compares the one payment of a key with what was asked for and with what
// was answered.
func judgePayment(in *intent, p payment, answer *Answer, complain func(string, ...any)) {
	got := p
	got.answer = nil // which is judged below
	want := got
	want.status, want.captured, want.refunded = in.leaves()
	want.amount, want.source, want.destination = in.charge.Amount, in.charge.source(),
		in.charge.Destination
	if in.change != "" {
		want.id = in.of
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		complain("another payment than was asked for (I13): %v, want %v", got, want)
	}
	if answer == nil {
		complain("it has a payment and no final answer")
		return
	}
	if answer.PaymentID() != p.id {
		complain("it was answered %v, but its payment is %s (I13)", *answer, p.id)
	}
	if !bytes.Equal(answer.Body, p.answer) {
		complain("it was answered %v, but the stored answer is %s (I13)", *answer, p.answer)
	}
	if answer.Class() == Ack && !in.describedBy(answer.Body) {
		complain("its answer is about another %s: %v", in.operation(), *answer)
	}
}

// leaves is how the payment ends up, when all that was wished of it has been done.
func (in *intent) leaves() (status string, captured, refunded int64) {
	if in.then != nil {
		return in.then.leaves()
	}
	return in.comesTo()
}

// comesTo is the payment's state just after this intent.
func (in *intent) comesTo() (status string, captured, refunded int64) {
	switch {
	case in.change == changeCapture:
		return "succeeded", in.amount, 0
	case in.change == changeCancel:
		return "canceled", 0, 0
	case in.change == changeRefund:
		return "succeeded", in.charge.Amount, in.amount
	case in.charge.declined():
		return "declined", 0, 0
	case in.charge.AuthorizeOnly:
		return "authorized", 0, 0
	}
	return "succeeded", in.charge.Amount, 0
}

func (in *intent) operation() string {
	if in.change == "" {
		return "charge"
	}
	return in.change
}

// describedBy tells whether an answer is what was asked for, carried out: a payment as
// callers see it, or a refund.
func (in *intent) describedBy(body []byte) bool {
	var told struct {
		Charge
		Status   string `json:"status"`
		Captured int64  `json:"amount_captured"`
	}
	if json.Unmarshal(body, &told) != nil {
		return false
	}
	if in.change == changeRefund {
		return told.Status == "succeeded" && told.Amount == in.amount
	}
	told.AuthorizeOnly = in.charge.AuthorizeOnly // which a payment does not say
	status, captured, _ := in.comesTo()
	return told.Charge == in.charge && told.Status == status && told.Captured == captured
}

// neverDone complains of what a load should have had in it, and has no answer.
func (j *Journal) neverDone() (complaints []string) {
	done := map[string]bool{}
	for _, in := range j.intents {
		if slices.ContainsFunc(in.tries, Answer.Final) {
			done[in.operation()] = true
		}
	}
	for _, change := range []string{changeCapture, changeCancel, changeRefund} {
		if !done[change] {
			complaints = append(complaints, fmt.Sprintf("there is no %s in the load", change))
		}
	}
	return complaints
}

// idleStrikes complains of faults that overlapped no request, however often they were
// done: a test that injects them proves nothing.
func (j *Journal) idleStrikes() (complaints []string) {
	for what, n := range j.overlaps() {
		if n == 0 {
			complaints = append(complaints, fmt.Sprintf("no request was under way at %q", what))
		}
	}
	return complaints
}

// overlaps counts, for each kind of fault, the requests that were under way at one of
// them.
func (j *Journal) overlaps() map[string]int {
	counts := map[string]int{}
	for _, s := range j.strikes {
		counts[s.what] += len(j.overlapping(s))
	}
	return counts
}

// overlapping are the tries that had been sent and not answered when the fault struck.
func (j *Journal) overlapping(s strike) (tries []Answer) {
	for _, in := range j.intents {
		for _, try := range in.tries {
			if (s.target == "" || s.target == try.Target) && try.Sent.Before(s.at) &&
				try.Done.After(s.at) {
				tries = append(tries, try)
			}
		}
	}
	return tries
}

// Hurt is how many requests were under way at some fault and then got no final answer:
// those for whose sake the test is there.
func (j *Journal) Hurt() (n int) {
	for _, s := range j.strikes {
		for _, try := range j.overlapping(s) {
			if !try.Final() {
				n++
			}
		}
	}
	return n
}

// summary counts the answers by what they were.
func (j *Journal) summary() string {
	counts := map[string]int{}
	for _, in := range j.intents {
		for _, try := range in.tries {
			counts[kindOf(try)]++
		}
	}
	var texts []string
	for kind, n := range counts {
		texts = append(texts, fmt.Sprintf("%d × %s", n, kind))
	}
	slices.Sort(texts)
	for what, n := range j.overlaps() {
		texts = append(texts, fmt.Sprintf("%d under way at %q", n, what))
	}
	return strings.Join(texts, ", ")
}

func kindOf(a Answer) string {
	switch {
	case a.Err != nil:
		return "no answer"
	case a.Replayed():
		return fmt.Sprintf("%d replayed", a.Status)
	case a.Code() != "":
		return fmt.Sprintf("%d %s", a.Status, a.Code())
	}
	return fmt.Sprint(a.Status)
}
