package journal

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
	paid := payment{
		"key", "pay_1", "req_1", "succeeded", 7, 7, 0, World, Shops[0],
		body("pay_1", 7),
	}
	with := func(change func(*payment)) []payment {
		other := paid
		change(&other)
		return []payment{other}
	}
	ack := told(201, "req_1", string(paid.answer))
	nothing := Answer{Err: io.EOF}
	outage := told(503, "req_0", `{"code":"unavailable"}`)
	doubt := told(503, "req_1", `{"code":"outcome_unknown"}`)
	refusal := told(422, "req_1", `{"code":"account_closed"}`)
	once := []payment{paid}
	twin := with(func(p *payment) { p.id = "pay_2" })
	for _, row := range []struct {
		name     string
		tries    []Answer
		payments []payment
		want     string // part of a complaint; empty: none
	}{
		{"an ack", []Answer{ack}, once, ""},
		{"an ack after silence", []Answer{nothing, ack, ack}, once, ""},
		{"silence, and nothing done", []Answer{nothing}, nil, ""},
		{"an outage before the ack", []Answer{outage, ack}, once, ""},
		{"a doubt before the ack", []Answer{doubt, ack}, once, ""},
		{"a refusal", []Answer{refusal}, nil, ""},
		{"acked and lost", []Answer{ack}, nil, "lost"},
		{"doubled", []Answer{ack}, append(once, twin...), "doubled"},
		{"other bytes", []Answer{ack, told(201, "req_2", `{"id":"pay_1"}`)}, once, "two answers"},
		{
			"another amount",
			[]Answer{ack},
			with(func(p *payment) { p.amount = 8 }), "another payment",
		},
		{"another payment's id", []Answer{ack}, twin, "but its payment is"},
		{
			"another stored answer",
			[]Answer{ack},
			with(func(p *payment) { p.answer = nil }), "the stored answer is",
		},
		{"paid and never told", []Answer{nothing}, once, "no final answer"},
		{"paid and refused", []Answer{refusal, ack}, once, "denied"},
		{
			"paid and denied",
			[]Answer{told(503, "req_1", `{"code":"unavailable"}`), ack},
			once, "denied",
		},
		{
			"an internal error",
			[]Answer{told(500, "req_0", `{}`), ack},
			once, "a fault of the database",
		},
		{
			"an answer about another charge",
			[]Answer{told(201, "req_1", string(body("pay_1", 8)))},
			once, "about another charge",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(judge([]*intent{{key: "key", charge: charge, tries: row.tries}},
				row.payments), "\n")
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("the judge says %q, want %q", got, row.want)
			}
		})
	}
}

// A payment and what was done to it have a key each, and both tell of the payment as it
// is in the end.
func TestJudgeComplainsOfEachBrokenPromiseAboutAChange(t *testing.T) {
	t.Parallel()
	held := NewCharge(7)
	held.AuthorizeOnly = true
	at := func(status string, captured, refunded int64) []payment {
		return []payment{{
			"change", "pay_1", "req_2", status, 7, captured, refunded, World, Shops[0], nil,
		}}
	}
	paid := NewCharge(7)
	four, canceled := paymentBody("succeeded", 4), paymentBody("canceled", 0)
	const other = "another payment"
	for _, row := range []struct {
		name   string
		charge Charge
		change string
		answer string
		now    []payment
		want   string // part of a complaint; empty: none
	}{
		{"captured", held, changeCapture, four, at("succeeded", 4, 0), ""},
		{"canceled", held, changeCancel, canceled, at("canceled", 0, 0), ""},
		{"refunded", paid, changeRefund, refundBody(4), at("succeeded", 7, 4), ""},
		{"acked and lost", paid, changeRefund, refundBody(4), nil, "lost"},
		{"refunded twice", paid, changeRefund, refundBody(4), at("succeeded", 7, 8), other},
		{"refunded and undone", paid, changeRefund, refundBody(4), at("succeeded", 7, 0), other},
		{"captured, and canceled", held, changeCapture, four, at("canceled", 0, 0), other},
		{"canceled, and held", held, changeCancel, canceled, at("authorized", 0, 0), other},
		{
			"another capture", held, changeCapture, paymentBody("succeeded", 5),
			at("succeeded", 4, 0), "about another capture",
		},
		{
			"another refund", paid, changeRefund, refundBody(5),
			at("succeeded", 7, 4), "about another refund:",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for i := range row.now {
				row.now[i].answer = []byte(row.answer)
			}
			change := &intent{
				key: "change", charge: row.charge, change: row.change, of: "pay_1",
				amount: 4,
			}
			change.tries = []Answer{told(200, "req_2", row.answer), told(200, "req_3", row.answer)}
			got := strings.Join(judge([]*intent{change}, row.now), "\n")
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("the judge says %q, want %q", got, row.want)
			}
			charge := &intent{key: "key", charge: row.charge, then: change}
			for _, now := range row.now {
				got, complaint := "", "another payment"
				judgePayment(charge, now, nil, func(format string, _ ...any) { got += format })
				if row.want == complaint != strings.Contains(got, complaint) {
					t.Errorf("of the charge the judge says %q", got)
				}
			}
		})
	}
}

func paymentBody(status string, captured int64) string {
	return fmt.Sprintf(
		`{"id":"pay_1","status":%q,"amount":7,"currency":"USD","source_account":"world",`+
			`"destination_account":"shop-0","amount_captured":%d}`, status, captured)
}

func refundBody(amount int64) string {
	return fmt.Sprintf(
		`{"id":"ref_1","payment_id":"pay_1","amount":%d,"currency":"USD","status":"succeeded"}`,
		amount,
	)
}

func TestJudgeRejectsLoadWithoutRefunds(t *testing.T) {
	t.Parallel()
	j := NewJournal(nil, nil)
	for _, change := range []string{"", changeCapture, changeCancel} {
		j.intents = append(j.intents,
			&intent{change: change, tries: []Answer{{Status: http.StatusOK}}})
	}
	if got := j.neverDone(); len(got) != 1 || !strings.Contains(got[0], changeRefund) {
		t.Errorf("%q", got)
	}
}

func TestJudgeComplainsOfAPaymentThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	if got := judge(nil, []payment{{key: "key"}}); len(got) != 1 {
		t.Errorf("the judge says %q", got)
	}
}

func TestJudgeRejectsFaultThatHitNoRequest(t *testing.T) {
	t.Parallel()
	now := time.Now()
	j := NewJournal(nil, nil)
	j.intents = []*intent{{tries: []Answer{{
		Target: "a", Sent: now,
		Done: now.Add(2 * time.Second),
	}}}}
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
	return Answer{
		Status: status, Body: []byte(body),
		Header: http.Header{"Request-Id": {requestID}, "Retry-After": {"1"}},
	}
}

func body(id string, amount int64) []byte {
	return fmt.Appendf(nil,
		`{"id":%q,"status":"succeeded","amount":%d,"currency":"USD","source_account":"world",`+
			`"destination_account":"shop-0","amount_captured":%[2]d}`, id, amount)
}
