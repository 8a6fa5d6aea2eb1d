package conformance

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

func refusedRequest(c *caller) {
	with := func(member string, value any) string {
		return c.order(100).with(member, value).String()
	}
	unknown := "nobody-" + c.id
	refusals := []struct {
		name, text string
		status     int
		code       string
	}{
		{"not JSON", `{"amount":100,`, 400, "invalid_request"},
		{"two bodies", c.order(100).String() + "{}", 400, "invalid_request"},
		{"an unknown member", with("amuont", 1), 400, "invalid_request"},
		{"no body", " ", 400, "invalid_request"},
		{"a wrong type", with("amount", "100"), 400, "invalid_request"},
		{"a fraction", with("amount", 99.5), 400, "invalid_request"},
		{"too long", with("description", strings.Repeat("x", 1<<17)), 413, "payload_too_large"},
		{"nothing", with("amount", 0), 422, "unprocessable"},
		{"less than nothing", with("amount", -100), 422, "unprocessable"},
		{"too much", with("amount", 1<<53), 422, "unprocessable"},
		{"to oneself", with("source_account", c.shop), 422, "unprocessable"},
		{"another currency", with("currency", "EUR"), 422, "currency_mismatch"},
		{"no such source", with("source_account", unknown), 422, "account_not_found"},
		{"no such destination", with("destination_account", unknown), 422, "account_not_found"},
	}
	for _, bad := range refusals {
		c.run(bad.name, func(c *caller) {
			for _, at := range []string{c.first, c.other, c.first} {
				c.chargeText(at, bad.text, c.key(bad.name)).
					wantProblem(bad.status, bad.code).wantFresh()
			}
			c.wantKeyFree(bad.name)
		})
	}
	c.wantMoved(int64(100 * len(refusals)))
}

func strayRequest(c *caller) {
	strays := []struct {
		name, method, path string
		header             http.Header
		status             int
		code               string
	}{
		{
			"no credential", "POST", "/payments",
			http.Header{"Authorization": nil},
			401, "unauthorized",
		},
		{
			"a wrong credential", "POST", "/payments",
			http.Header{"Authorization": {"Bearer sk_wrong"}},
			401, "unauthorized",
		},
		{"the wrong path", "POST", "/payment", nil, 404, "not_found"},
		{"the wrong method", "PUT", "/payments", nil, 405, "method_not_allowed"},
		{
			"the wrong type", "POST", "/payments",
			http.Header{"Content-Type": {"text/plain"}},
			415, "unsupported_media_type",
		},
	}
	for _, stray := range strays {
		c.run(stray.name, func(c *caller) {
			r := charging(c.order(100), c.key(stray.name))
			r.method, r.path, r.header = stray.method, stray.path, stray.header
			for _, at := range []string{c.first, c.other} {
				c.send(at, r).wantProblem(stray.status, stray.code).wantFresh()
			}
			c.wantKeyFree(stray.name)
		})
	}
	c.wantMoved(int64(100 * len(strays)))
}

// wantKeyFree checks that the key still charges, once.
func (c *caller) wantKeyFree(key string) {
	c.t.Helper()
	paid := c.charge(c.first, c.order(100), c.key(key)).want(201).wantFresh()
	c.charge(c.other, c.order(100), c.key(key)).wantReplayOf(paid)
}

func curedRequest(c *caller) {
	toBob := c.order(100).with("destination_account", "bob-"+c.id)
	c.charge(c.first, toBob, c.key("k")).wantProblem(422, "account_not_found").wantFresh()
	c.putAccount("bob-"+c.id, `{"currency":"USD"}`)
	paid := c.charge(c.other, toBob, c.key("k")).want(201).wantFresh()
	c.charge(c.first, toBob, c.key("k")).wantReplayOf(paid)
	c.wantBalance("bob-"+c.id, 100)
	c.wantBalance(c.alice, -100)
}

func closedAccount(c *caller) {
	closed := "closed-" + c.id
	c.putAccount(closed, `{"currency":"USD"}`)
	c.send(c.other, request{method: "DELETE", path: "/accounts/" + closed}).want(204)
	for _, at := range []string{c.first, c.other} {
		c.charge(at, c.order(100).with("destination_account", closed), c.key("k")).
			wantProblem(422, "account_closed").wantFresh()
	}
	c.wantKeyFree("k")
	c.wantMoved(100)
}

func refusedAtOnce(c *caller) {
	for round := range 5 {
		key := c.key(fmt.Sprint("round ", round))
		orders := []body{c.order(1), c.order(1).with("destination_account", "nobody-"+c.id)}
		var paid []*answer
		for i, a := range c.crowd(40, func(i int) request {
			return charging(orders[i/2%2], key)
		}) {
			if i/2%2 == 0 {
				paid = append(paid, a.want(201))
				continue
			}
			if code := a.want(422).member("code"); code != "account_not_found" &&
				code != "idempotency_key_reused" {
				a.fail("is neither the refusal nor the news that the key is taken")
			}
		}
		wantOneExecution(paid)
		c.wantMoved(int64(round) + 1)
	}
}

// The refused request has the key while the other one waits for it.
func refusedBeforeAnother(c *caller) {
	release := c.hold(c.alice)
	refused, waited := make(chan *answer, 1), make(chan *answer, 1)
	go func() {
		refused <- c.charge(c.first, c.heldOrder(100).with("destination_account", "nobody"),
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
func keyNotTaken(c *caller) {
	c.putAccount("new-"+c.id, `{"currency":"USD"}`, c.key("k"))
	c.wantKeyFree("k")
	c.wantMoved(100)
}

// The body ends before its announced length.
func cutShort(c *caller) {
	whole := c.order(100).String()
	for _, body := range []string{
		"", whole[:1], whole[:len(whole)/2], whole[:len(whole)-1], whole,
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
	c.wantKeyFree("k")
	c.wantMoved(100)
}

func declinedRequest(c *caller) {
	order := c.order(aliceHas + 1)
	no := c.charge(c.first, order, c.key("k")).wantProblem(402, "insufficient_funds").wantFresh()
	c.charge(c.other, order, c.key("k")).wantReplayOf(no)
	c.get(c.other, "/payments/"+no.paymentID()).want(200).wantStatus("declined")
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

func declinedAtOnce(c *caller) {
	order := charging(c.order(aliceHas+1), c.key("k"))
	answers := c.crowd(50, func(int) request { return order })
	no := wantOneExecution(answers).wantProblem(402, "insufficient_funds")
	c.send(c.other, order).wantReplayOf(no)
	c.wantMoved(0)
}

// The destination has spent the money that the refund needs.
func declinedRefund(c *caller) {
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

func spentAtOnce(c *caller) {
	try := func(i int) request { return charging(c.order(aliceHas), c.key(fmt.Sprint(i))) }
	paid := 0
	for i, a := range c.crowd(100, try) {
		if a.wantFresh().status == http.StatusCreated {
			paid++
		} else {
			a.wantProblem(402, "insufficient_funds")
		}
		c.send(c.other, try(i)).wantReplayOf(a)
	}
	if paid != 1 {
		c.t.Errorf("all that there is was paid %d times", paid)
	}
	c.wantMoved(aliceHas)
}

func otherMerchant(c *caller) {
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

func twoKeys(c *caller) {
	one := c.charge(c.first, c.order(100), c.key("k1")).want(201).wantFresh()
	two := c.charge(c.other, c.order(100), c.key("k2")).want(201).wantFresh()
	if one.paymentID() == two.paymentID() {
		c.t.Error("two keys, one payment")
	}
	c.wantMoved(200)
	for _, a := range c.crowd(20, func(i int) request {
		return charging(c.order(1), c.key(fmt.Sprint("at once ", i)))
	}) {
		a.want(201).wantFresh()
	}
	c.wantMoved(220)
}

func sameReferenceLater(c *caller) {
	order := c.order(100).with("reference", "order-"+c.id)
	paid := c.charge(c.first, order, c.key("k1")).want(201)
	for _, again := range []body{order, order.with("amount", 5)} {
		c.charge(c.other, again, c.key("k2")).wantProblem(409, "duplicate_reference").
			wantFresh().wantAbout(paid)
	}
	c.charge(c.other, order, c.key("k1")).wantReplayOf(paid)
	c.wantMoved(100)
	c.charge(c.other, order.with("reference", "ORDER-"+c.id), c.key("k2")).want(201).wantFresh()
	c.wantMoved(200)
}

func sameReferenceAtOnce(c *caller) {
	for round := range 3 {
		order := c.order(100).with("reference", fmt.Sprint("order-", round, "-", c.id))
		c.wantOnePaid(50, func(int) body { return order })
		c.wantMoved(int64(100 * (round + 1)))
	}
}

// A declined claim keeps the reference from no other payment.
func referenceForPayer(c *caller) {
	for round := range 3 {
		order := c.order(100).with("reference", fmt.Sprint("order-", round, "-", c.id))
		orders := []body{order.with("amount", aliceHas+1), order}
		c.wantOnePaid(40, func(i int) body { return orders[i/2%2] })
		c.wantMoved(int64(100 * (round + 1)))
	}
}

// wantOnePaid sends n orders with one reference at once, each under a key of its own.
// One of them is paid. Another is declined only if it asks for more than alice has.
func (c *caller) wantOnePaid(n int, order func(i int) body) {
	c.t.Helper()
	answers := c.crowd(n, func(i int) request { return charging(order(i), rand.Text()) })
	var paid []*answer
	for _, a := range answers {
		if a.status == http.StatusCreated {
			paid = append(paid, a)
		}
	}
	if len(paid) != 1 {
		c.t.Fatalf("the reference was paid %d times; an answer is %v", len(paid), answers[0])
	}
	for i, a := range answers {
		insolvent := order(i)["amount"] == aliceHas+1
		if a == paid[0] || insolvent && a.status == http.StatusPaymentRequired {
			continue
		}
		a.wantProblem(409, "duplicate_reference").wantAbout(paid[0])
	}
}

func freedReference(c *caller) {
	order := c.order(aliceHas+1).with("reference", "order-"+c.id)
	no := c.charge(c.first, order, c.key("k1")).wantProblem(402, "insufficient_funds")
	payment := c.get(c.other, "/payments/"+no.paymentID())
	if payment.member("decline_code") != "insufficient_funds" {
		payment.fail("does not say why it was declined")
	}
	c.charge(c.other, order.with("amount", 100), c.key("k2")).want(201).wantFresh()
	c.charge(c.other, order, c.key("k1")).wantReplayOf(no)
	c.charge(c.first, order.with("amount", 100), c.key("k3")).
		wantProblem(409, "duplicate_reference")
	c.wantMoved(100)
}
