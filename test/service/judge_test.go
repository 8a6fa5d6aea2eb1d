package service

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What the judge has to see, and what it must not take for a crime.
func TestJudgeComplainsOfEachBrokenPromise(t *testing.T) {
	t.Parallel()
	charge := NewCharge(7)
	paid := payment{"key", "pay_1", "req_1", "succeeded", 7, World, Shops[0], body("pay_1", 7)}
	with := func(change func(*payment)) payment {
		other := paid
		change(&other)
		return other
	}
	ack := told(201, "req_1", string(paid.answer))
	nothing := Answer{Err: io.EOF}
	for _, row := range []struct {
		name     string
		tries    []Answer
		payments []payment
		want     string // part of a complaint; empty: none
	}{
		{"an ack", []Answer{ack}, []payment{paid}, ""},
		{"an ack after silence", []Answer{nothing, ack, ack}, []payment{paid}, ""},
		{"silence, and nothing done", []Answer{nothing}, nil, ""},
		{"an outage before the ack", []Answer{told(503, "req_0", `{"code":"unavailable"}`), ack}, []payment{paid}, ""},
		{"a doubt before the ack", []Answer{told(503, "req_1", `{"code":"outcome_unknown"}`), ack}, []payment{paid}, ""},
		{"a refusal", []Answer{told(422, "req_1", `{"code":"account_closed"}`)}, nil, ""},
		{"acked and lost", []Answer{ack}, nil, "lost"},
		{"doubled", []Answer{ack}, []payment{paid, with(func(p *payment) { p.id = "pay_2" })}, "doubled"},
		{"other bytes", []Answer{ack, told(201, "req_2", `{"id":"pay_1"}`)}, []payment{paid}, "two answers"},
		{"another amount", []Answer{ack}, []payment{with(func(p *payment) { p.amount = 8 })}, "another payment"},
		{"another payment's id", []Answer{ack}, []payment{with(func(p *payment) { p.id = "pay_2" })}, "but its payment is"},
		{"another stored answer", []Answer{ack}, []payment{with(func(p *payment) { p.answer = nil })}, "the stored answer is"},
		{"paid and never told", []Answer{nothing}, []payment{paid}, "no final answer"},
		{"paid and refused", []Answer{told(422, "req_1", `{}`), ack}, []payment{paid}, "denied"},
		{"paid and denied", []Answer{told(503, "req_1", `{"code":"unavailable"}`), ack}, []payment{paid}, "denied"},
		{"an internal error", []Answer{told(500, "req_0", `{}`), ack}, []payment{paid}, "a fault of the database"},
		{"an answer about another charge", []Answer{told(201, "req_1", string(body("pay_1", 8)))}, []payment{paid}, "about another charge"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(judge([]*intent{{key: "key", charge: charge, tries: row.tries}}, row.payments), "\n")
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("the judge says %q, want %q", got, row.want)
			}
		})
	}
}

func TestJudgeComplainsOfAPaymentThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	if got := judge(nil, []payment{{key: "key"}}); len(got) != 1 {
		t.Errorf("the judge says %q", got)
	}
}

func TestAFaultThatNoRequestNoticedFails(t *testing.T) {
	t.Parallel()
	now := time.Now()
	j := NewJournal(nil, nil)
	j.intents = []*intent{{tries: []Answer{{Target: "a", Sent: now, Done: now.Add(2 * time.Second)}}}}
	for _, row := range []struct {
		strike strike
		idle   int
	}{
		{strike{target: "", at: now.Add(time.Second)}, 0},
		{strike{target: "a", at: now.Add(time.Second)}, 0},
		{strike{target: "b", at: now.Add(time.Second)}, 1},
		{strike{target: "a", at: now.Add(3 * time.Second)}, 1},
	} {
		j.strikes = []strike{row.strike}
		if got := j.idleStrikes(); len(got) != row.idle {
			t.Errorf("%+v: %q", row.strike, got)
		}
	}
}

func told(status int, requestID, body string) Answer {
	return Answer{Status: status, Body: []byte(body), Header: http.Header{"Request-Id": {requestID}, "Retry-After": {"1"}}}
}

func body(id string, amount int64) []byte {
	return fmt.Appendf(nil, `{"id":%q,"status":"succeeded","amount":%d,"currency":"USD","source_account":"world",`+
		`"destination_account":"shop-0","amount_captured":%[2]d}`, id, amount)
}
