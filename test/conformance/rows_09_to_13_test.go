package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func refusedRequest(t *testing.T, c *caller) {
	type refusal struct {
		text   func(*caller) string
		status int
		code   string
	}
	with := func(member string, value any) func(*caller) string {
		return func(c *caller) string { return c.order(100).with(member, value).String() }
	}
	toOneself := func(c *caller) string {
		return c.order(100).with("source_account", c.shop).String()
	}
	for name, bad := range map[string]refusal{
		"not JSON": {func(*caller) string {
			return `{"amount":100,`
		}, 400, "invalid_request"},
		"two bodies": {func(c *caller) string {
			return c.order(100).String() + "{}"
		}, 400, "invalid_request"},
		"an unknown member": {with("amuont", 1), 400, "invalid_request"},
		"no body":           {func(*caller) string { return " " }, 400, "invalid_request"},
		"a wrong type":      {with("amount", "100"), 400, "invalid_request"},
		"a fraction":        {with("amount", 99.5), 400, "invalid_request"},
		"too long": {
			with("description", strings.Repeat("x", 1<<17)), 413,
			"payload_too_large",
		},
		"nothing":           {with("amount", 0), 422, "unprocessable"},
		"less than nothing": {with("amount", -100), 422, "unprocessable"},
		"too much":          {with("amount", 1<<53), 422, "unprocessable"},
		"to oneself":        {toOneself, 422, "unprocessable"},
		"another currency":  {with("currency", "EUR"), 422, "currency_mismatch"},
		"a source unknown":  {with("source_account", "nobody-"+c.id), 422, "account_not_found"},
		"destination unknown": {
			with("destination_account", "nobody-"+c.id), 422,
			"account_not_found",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.another(t)
			for _, at := range []string{c.first, c.other, c.first} {
				c.chargeText(at, bad.text(c), c.key("k")).wantProblem(bad.status,
					bad.code).wantFresh()
			}
			c.wantKeyFree()
		})
	}
}

func strayRequest(t *testing.T, c *caller) {
	for name, stray := range map[string]struct {
		change func(*request)
		status int
		code   string
	}{
		"no credential": {func(r *request) {
			r.header = http.Header{"Authorization": nil}
		}, 401, "unauthorized"},
		"a wrong credential": {func(r *request) {
			r.header = http.Header{"Authorization": {"Bearer sk_wrong"}}
		}, 401, "unauthorized"},
		"the wrong path": {func(r *request) { r.path = "/payment" }, 404, "not_found"},
		"the wrong method": {func(r *request) {
			r.method = http.MethodPut
		}, 405, "method_not_allowed"},
		"the wrong type": {func(r *request) {
			r.header = http.Header{"Content-Type": {"text/plain"}}
		}, 415, "unsupported_media_type"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.another(t)
			r := request{
				method: "POST", path: "/payments", body: c.order(100).String(),
				keys: []string{c.key("k")},
			}
			stray.change(&r)
			for _, at := range []string{c.first, c.other} {
				c.send(at, r).wantProblem(stray.status, stray.code).wantFresh()
			}
			c.wantKeyFree()
		})
	}
}

// wantKeyFree checks that the key "k" still charges, once, and that nothing else has
// moved money before.
func (c *caller) wantKeyFree() {
	c.t.Helper()
	c.wantMoved(0)
	paid := c.charge(c.first, c.order(100), c.key("k")).want(201).wantFresh()
	c.charge(c.other, c.order(100), c.key("k")).wantReplayOf(paid)
	c.wantMoved(100)
}

func curedRequest(_ *testing.T, c *caller) {
	toBob := c.order(100).with("destination_account", "bob-"+c.id)
	c.charge(c.first, toBob, c.key("k")).wantProblem(422, "account_not_found").wantFresh()
	c.putAccount("bob-"+c.id, `{"currency":"USD"}`)
	paid := c.charge(c.other, toBob, c.key("k")).want(201).wantFresh()
	c.charge(c.first, toBob, c.key("k")).wantReplayOf(paid)
	c.wantBalance("bob-"+c.id, 100)
	c.wantBalance(c.alice, -100)
}

func closedAccount(_ *testing.T, c *caller) {
	closed := "closed-" + c.id
	c.putAccount(closed, `{"currency":"USD"}`)
	c.send(c.other, request{method: "DELETE", path: "/accounts/" + closed}).want(204)
	for _, at := range []string{c.first, c.other} {
		c.charge(at, c.order(100).with("destination_account", closed), c.key("k")).
			wantProblem(422, "account_closed").wantFresh()
	}
	c.wantKeyFree()
}

func refusedAtOnce(t *testing.T, c *caller) {
	for round := range 5 {
		key := c.key(fmt.Sprint("round ", round))
		orders := []body{c.order(1), c.order(1).with("destination_account", "nobody-"+c.id)}
		var paid []*answer
		for i, a := range c.crowd(40, func(i int) (string, body) { return key, orders[i/2%2] }) {
			if i/2%2 == 0 {
				paid = append(paid, a.want(201))
				continue
			}
			if code := a.want(422).member("code"); code != "account_not_found" &&
				code != "idempotency_key_reused" {
				a.fail("is neither the refusal nor the news that the key is taken")
			}
		}
		wantOneExecution(t, paid)
		c.wantMoved(int64(round) + 1)
	}
}

// The refused request has the key while the other one waits for it.
func refusedBeforeAnother(_ *testing.T, c *caller) {
	release := c.hold(c.alice)
	refused, waited := make(chan *answer, 1), make(chan *answer, 1)
	go func() {
		refused <- c.charge(c.first, c.order(100).with("destination_account", "nobody"),
			c.key("k"))
	}()
	c.awaitWaiting(1)
	go func() { waited <- c.charge(c.other, c.order(100), c.key("k")) }()
	c.awaitWaiting(2)
	release()
	(<-refused).wantProblem(422, "account_not_found")
	(<-waited).want(201).wantFresh()
	c.wantMoved(100)
}

// PUT is idempotent by its method.
func keyNotTaken(_ *testing.T, c *caller) {
	c.putAccount("new-"+c.id, `{"currency":"USD"}`, c.key("k"))
	c.wantKeyFree()
}

// The body ends before its announced length.
func cutShort(_ *testing.T, c *caller) {
	whole := c.order(100).String()
	for _, body := range []string{
		"", whole[:1], whole[:len(whole)/2], whole[:len(whole)-1],
		whole,
	} {
		announced := len(whole)
		if body == whole { // a JSON value that is whole is still not all that was announced
			announced += 100
		}
		conn := c.rawPart(c.first, body, announced, c.key("k"))
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			c.t.Fatal(err)
		}
		c.readRaw(conn).wantProblem(400, "invalid_request")
		hangUp(c.rawPart(c.first, body, announced, c.key("k")))
	}
	c.wantKeyFree()
}

func declinedRequest(_ *testing.T, c *caller) {
	order := c.order(aliceHas + 1)
	no := c.charge(c.first, order, c.key("k")).wantProblem(402, "insufficient_funds").wantFresh()
	c.charge(c.other, order, c.key("k")).wantReplayOf(no)
	if payment := c.get(c.other,
		"/payments/"+no.paymentID()).want(200); payment.member("status") != "declined" {
		payment.fail("is not declined")
	}
	c.wantMoved(0)

	c.putAccount(c.alice, fmt.Sprintf(`{"currency":"USD","overdraft_limit":%d}`, aliceHas+1))
	c.charge(c.other, order, c.key("k")).wantReplayOf(no)
	c.charge(c.first, order, c.key("k")).wantReplayOf(no)
	c.charge(c.other, c.order(1), c.key("k")).wantProblem(422, "idempotency_key_reused")
	c.wantMoved(0)
	c.charge(c.other, order, c.key("another")).want(201).wantFresh()
	c.wantMoved(aliceHas + 1)
	c.charge(c.first, c.order(1), c.key("one cent more")).wantProblem(402, "insufficient_funds")
}

func declinedAtOnce(t *testing.T, c *caller) {
	answers := c.crowd(50, func(int) (string, body) { return c.key("k"), c.order(aliceHas + 1) })
	no := wantOneExecution(t, answers).wantProblem(402, "insufficient_funds")
	c.charge(c.other, c.order(aliceHas+1), c.key("k")).wantReplayOf(no)
	c.wantMoved(0)
}

// The destination has spent the money that the refund needs.
func declinedRefund(_ *testing.T, c *caller) {
	path := c.charge(c.first, c.order(100), c.key("k")).want(201).location()
	back := c.order(50).with("source_account", c.shop).with("destination_account", c.alice)
	c.charge(c.first, back, c.key("spend")).want(201)
	no := c.post(c.first, path+"/refunds", "", c.key("refund")).
		wantProblem(402, "insufficient_funds").wantFresh()
	c.charge(c.first, c.order(50), c.key("earn")).want(201)
	c.post(c.other, path+"/refunds", "", c.key("refund")).wantReplayOf(no)
	c.wantMoved(100)
	c.post(c.other, path+"/refunds", "", c.key("again")).want(201).wantFresh()
	c.wantMoved(0)
}

func spentAtOnce(t *testing.T, c *caller) {
	key := func(i int) string { return c.key(fmt.Sprint("try ", i)) }
	answers := c.crowd(100, func(i int) (string, body) { return key(i), c.order(aliceHas) })
	paid := 0
	for i, a := range answers {
		if a.wantFresh().status == http.StatusCreated {
			paid++
		} else {
			a.wantProblem(402, "insufficient_funds")
		}
		c.charge(c.other, c.order(aliceHas), key(i)).wantReplayOf(a)
	}
	if paid != 1 {
		t.Errorf("all that there is was paid %d times", paid)
	}
	c.wantMoved(aliceHas)
}

func otherMerchant(_ *testing.T, c *caller) {
	o := c.otherMerchant()
	paid := c.charge(c.first, c.order(100), c.key("k")).want(201)
	o.charge(o.other, o.order(100), c.key("k")).want(201).wantFresh()
	o.charge(o.other, o.order(101), c.key("k")).wantProblem(422, "idempotency_key_reused")
	c.charge(c.other, c.order(100), c.key("k")).wantReplayOf(paid)
	o.get(o.first, "/payments/"+paid.paymentID()).wantProblem(404, "not_found")
	c.wantMoved(100)
	o.wantMoved(100)

	// A reference is the merchant's too.
	c.charge(c.first, c.order(1).with("reference", "r-"+c.id), c.key("r")).want(201)
	o.charge(o.first, o.order(1).with("reference", "r-"+c.id), c.key("r")).want(201).wantFresh()

	// Nor does it show from a refusal that somebody else has the key.
	c.charge(c.first, c.order(5), c.key("k2")).want(201)
	o.charge(o.other, o.order(0), c.key("k2")).wantProblem(422, "unprocessable")
}

func twoKeys(t *testing.T, c *caller) {
	one := c.charge(c.first, c.order(100), c.key("k1")).want(201).wantFresh()
	two := c.charge(c.other, c.order(100), c.key("k2")).want(201).wantFresh()
	if one.paymentID() == two.paymentID() {
		t.Error("two keys, one payment")
	}
	c.wantMoved(200)
	for _, a := range c.crowd(20, func(i int) (string, body) {
		return c.key(fmt.Sprint("at once ", i)), c.order(1)
	}) {
		a.want(201).wantFresh()
	}
	c.wantMoved(220)
}

func sameReferenceLater(_ *testing.T, c *caller) {
	order := c.order(100).with("reference", "order-"+c.id)
	paid := c.charge(c.first, order, c.key("k1")).want(201)
	for _, again := range []body{order, order.with("amount", 5)} {
		refused := c.charge(c.other, again, c.key("k2")).wantProblem(409,
			"duplicate_reference").wantFresh()
		if refused.paymentID() != paid.paymentID() {
			refused.fail("does not name %s, which has the reference", paid.paymentID())
		}
	}
	c.charge(c.other, order, c.key("k1")).wantReplayOf(paid)
	c.wantMoved(100)
	c.charge(c.other, order.with("reference", "ORDER-"+c.id), c.key("k2")).want(201).wantFresh()
	c.wantMoved(200)
}

func sameReferenceAtOnce(t *testing.T, c *caller) {
	for round := range 3 {
		order := c.order(100).with("reference", fmt.Sprint("order-", round, "-", c.id))
		answers := c.crowd(50, func(i int) (string, body) {
			return c.key(fmt.Sprint(round, " ", i)), order
		})
		paid, winner := 0, ""
		for _, a := range answers {
			if a.status == http.StatusCreated {
				paid, winner = paid+1, a.paymentID()
			}
		}
		if paid != 1 {
			t.Fatalf("the reference was paid %d times; an answer is %v", paid, answers[0])
		}
		for _, a := range answers {
			if a.status != http.StatusCreated &&
				a.wantProblem(409, "duplicate_reference").paymentID() != winner {
				a.fail("does not name %s, which has the reference", winner)
			}
		}
		c.wantMoved(int64(100 * (round + 1)))
	}
}

// A declined claim keeps the reference from no other payment.
func referenceForPayer(t *testing.T, c *caller) {
	for round := range 3 {
		order := c.order(100).with("reference", fmt.Sprint("order-", round, "-", c.id))
		paid := 0
		for i, a := range c.crowd(40, func(i int) (string, body) {
			if i/2%2 == 0 {
				return c.key(fmt.Sprint(round, " ", i)), order.with("amount", aliceHas+1)
			}
			return c.key(fmt.Sprint(round, " ", i)), order
		}) {
			switch {
			case a.status == http.StatusCreated && i/2%2 == 1:
				paid++
			case a.status == http.StatusPaymentRequired && i/2%2 == 0:
			default:
				a.wantProblem(409, "duplicate_reference")
			}
		}
		if paid != 1 {
			t.Errorf("the reference was paid %d times", paid)
		}
		c.wantMoved(int64(100 * (round + 1)))
	}
}

func freedReference(_ *testing.T, c *caller) {
	order := c.order(aliceHas+1).with("reference", "order-"+c.id)
	no := c.charge(c.first, order, c.key("k1")).wantProblem(402, "insufficient_funds")
	if payment := c.get(c.other,
		"/payments/"+no.paymentID()); payment.member("decline_code") != "insufficient_funds" {
		payment.fail("does not say why it was declined")
	}
	c.charge(c.other, order.with("amount", 100), c.key("k2")).want(201).wantFresh()
	c.charge(c.other, order, c.key("k1")).wantReplayOf(no)
	c.charge(c.first, order.with("amount", 100), c.key("k3")).wantProblem(409,
		"duplicate_reference")
	c.wantMoved(100)
}
