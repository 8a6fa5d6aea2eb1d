package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func firstRequest(t *testing.T, c *caller) {
	paid := c.charge(c.first, c.order(4999).with("description", "Größe <M> & \u2028"),
		c.key("k")).want(201).wantFresh()
	c.wantMoved(4999)
	var payment struct {
		ID, Status, Currency, Description string
		Amount                            int64
		Source                            string    `json:"source_account"`
		Destination                       string    `json:"destination_account"`
		CreatedAt                         time.Time `json:"created_at"`
	}
	if err := json.Unmarshal(paid.body, &payment); err != nil {
		paid.fail("is no payment: %v", err)
	}
	at := payment.CreatedAt
	payment.CreatedAt = time.Time{}
	want := payment
	want.Status, want.Currency, want.Description, want.Amount = "succeeded", "USD",
		"Größe <M> & \u2028", 4999
	want.Source, want.Destination = c.alice, c.shop
	if payment != want || payment.ID == "" || at.IsZero() {
		paid.fail("is not the payment that was asked for")
	}
	if location := paid.location(); location != "/payments/"+payment.ID {
		paid.fail("has the Location %q", location)
	}
	for _, at := range []string{c.first, c.other} {
		c.get(at, "/payments/"+payment.ID).want(200).wantSameJSON(paid)
	}
}

func sameRequestLater(_ *testing.T, c *caller) {
	order := c.order(100).with("description", "once")
	paid := c.charge(c.first, order, c.key("k")).want(201).wantFresh()
	for _, at := range []string{c.other, c.first, c.other} {
		c.charge(at, order, c.key("k")).wantReplayOf(paid)
	}
	c.wantMoved(100)
}

// A read before the claim fails most often in the rounds of two.
func sameRequestAtOnce(t *testing.T, c *caller) {
	moved := int64(0)
	for round, n := range []int{2, 2, 2, 2, 2, 10, 10, 100} {
		key := c.key(fmt.Sprint("round ", round))
		answers := c.crowd(n, func(int) (string, body) { return key, c.order(7) })
		wantOneExecution(t, answers).want(201)
		moved += 7
		c.wantMoved(moved)
	}
}

func duplicateWaits(_ *testing.T, c *caller) {
	release := c.hold(c.alice)
	first, second := make(chan *answer, 1), make(chan *answer, 1)
	go func() { first <- c.charge(c.first, c.order(100), c.key("k")) }()
	c.awaitWaiting(1)
	go func() { second <- c.charge(c.other, c.order(100), c.key("k")) }()
	c.awaitWaiting(2)
	release()
	(<-second).wantReplayOf((<-first).want(201).wantFresh())
	c.wantMoved(100)
}

func largestAnswer(_ *testing.T, c *caller) {
	pairs := map[string]string{}
	for i := range 50 {
		pairs[fmt.Sprintf("%s%02d", strings.Repeat("k", 38), i)] = strings.Repeat("€", 380)
	}
	large := c.order(100).with("metadata", pairs).with("description", strings.Repeat("😀", 500)).
		with("reference", strings.Repeat("ß", 128-len(c.id))+c.id)
	paid := c.charge(c.first, large, c.key("k")).want(201)
	if len(paid.body) < 60_000 {
		paid.fail("has %d bytes, which is less than the largest", len(paid.body))
	}
	c.charge(c.other, large, c.key("k")).wantReplayOf(paid)
	c.get(c.other, paid.location()).want(200).wantSameJSON(paid)
	c.wantMoved(100)
}

// changes of a payment of 400, each with a rival that must not share its key.
var changes = []struct {
	name   string
	held   bool // the payment is authorized first
	ways   [2]struct{ path, body string }
	status int // of the answer to either
	moved  [2]int64
}{
	{"capture", true, [2]struct{ path, body string }{
		{"/capture", `{"amount":150}`}, {"/capture", `{"amount":151}`},
	}, http.StatusOK, [2]int64{150, 151}},
	{"cancel", true, [2]struct{ path, body string }{
		{"/cancel", `{}`}, {"/capture", `{}`},
	}, http.StatusOK, [2]int64{0, 400}},
	{"refund", false, [2]struct{ path, body string }{
		{"/refunds", `{"amount":150}`}, {"/refunds", `{"amount":151}`},
	}, http.StatusCreated, [2]int64{250, 249}},
}

func sameChangeAtOnce(t *testing.T, c *caller) {
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			c := c.another(t)
			for round, n := range []int{2, 3, 10, 100} {
				key := c.key(fmt.Sprint("round ", round))
				order := c.order(400).with("capture", !change.held)
				path := c.charge(c.first, order, key+" payment").want(201).location()
				post := request{
					method: "POST", path: path + change.ways[0].path, body: change.ways[0].body,
					keys: []string{key},
				}
				first := wantOneExecution(t, c.crowdOf(n, func(int) request {
					return post
				})).want(change.status)
				c.send(c.other, post).wantReplayOf(first)
				c.wantMoved(change.moved[0] * int64(round+1))
			}
		})
	}
}

// The crowd needs a service of its own.
func sameRequestThousandsAtOnce(t *testing.T, c *caller) {
	const crowd = 2000
	answers := c.crowd(crowd, func(int) (string, body) { return c.key("k"), c.order(7) })
	wantOneExecution(t, answers).want(201)
	c.wantMoved(7)
}

func otherRequest(t *testing.T, c *caller) {
	order := c.order(100).with("description", "one pair of shoes")
	paid := c.charge(c.first, order, c.key("k")).want(201)
	for name, other := range map[string]body{
		"amount":      order.with("amount", 101),
		"currency":    order.with("currency", "EUR"),
		"source":      order.with("source_account", c.shop+"-2"),
		"destination": order.with("destination_account", c.alice+"-2"),
		"direction": order.with("source_account", c.shop).with("destination_account",
			c.alice),
		"description":     order.with("description", "two pairs of shoes"),
		"letters":         order.with("description", "One pair of shoes"),
		"no description":  order.with("description", ""),
		"against a rule":  order.with("amount", -100),
		"against another": order.with("destination_account", c.alice),
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			refused := c.charge(c.other, other, c.key("k")).wantFresh()
			refused.wantProblem(422, "idempotency_key_reused")
			if refused.paymentID() != paid.paymentID() {
				refused.fail("does not name the original, %s", paid.paymentID())
			}
			c.charge(c.first, order, c.key("k")).wantReplayOf(paid)
		})
	}
	c.wantMoved(100)
}

func otherRequestAtOnce(t *testing.T, c *caller) {
	moved := int64(0)
	for round := range 5 {
		requests := [2]request{}
		for i := range requests {
			requests[i] = request{
				method: "POST", path: "/payments", body: c.order(int64(i) + 1).String(),
				keys: []string{c.key(fmt.Sprint("round ", round))},
			}
		}
		moved += int64(c.wantOneOfTwo(t, requests, http.StatusCreated)) + 1
		c.wantMoved(moved)
	}
}

func otherChangeAtOnce(t *testing.T, c *caller) {
	for _, change := range changes {
		t.Run(change.name, func(t *testing.T) {
			c := c.another(t)
			order := c.order(400).with("capture", !change.held)
			path := c.charge(c.first, order, c.key("payment")).want(201).location()
			requests := [2]request{}
			for i, way := range change.ways {
				requests[i] = request{
					method: "POST", path: path + way.path, body: way.body,
					keys: []string{c.key("k")},
				}
			}
			c.wantMoved(change.moved[c.wantOneOfTwo(t, requests, change.status)])
		})
	}
}

// wantOneOfTwo sends both requests, which have one key, many times at once. One of them
// is executed once, and the other is told that the key is taken. It returns which one
// won.
func (c *caller) wantOneOfTwo(t *testing.T, requests [2]request, status int) (won int) {
	t.Helper()
	var answers [2][]*answer
	for i, a := range c.crowdOf(40, func(i int) request { return requests[i/2%2] }) {
		answers[i/2%2] = append(answers[i/2%2], a)
	}
	if answers[0][0].status != status {
		won = 1
	}
	executed := wantOneExecution(t, answers[won]).want(status)
	for _, a := range answers[1-won] {
		if a.wantProblem(422,
			"idempotency_key_reused").wantFresh().paymentID() != executed.paymentID() {
			a.fail("does not name %s, which won", executed.paymentID())
		}
	}
	c.send(c.other, requests[won]).wantReplayOf(executed)
	return won
}

func otherOptions(t *testing.T, c *caller) {
	order := c.order(100).with("reference", "order-"+c.id).with("description", "one").
		with("metadata", body{"a": "1", "b": "2"})
	card := order.with("payment_method", "tok_visa")
	delete(card, "source_account")
	paid := c.charge(c.first, order, c.key("k")).want(201)
	for name, other := range map[string]body{
		"another reference":        order.with("reference", "another-"+c.id),
		"no reference":             order.with("reference", nil),
		"another case of it":       order.with("reference", "ORDER-"+c.id),
		"another form of a letter": order.with("description", "ｏne"),
		"a space more":             order.with("description", "one "),
		"two texts exchanged": order.with("reference", "one").with("description",
			"order-"+c.id),
		"another value in metadata":    order.with("metadata", body{"a": "1", "b": "3"}),
		"another name in metadata":     order.with("metadata", body{"a": "1", "B": "2"}),
		"values exchanged":             order.with("metadata", body{"a": "2", "b": "1"}),
		"a pair more":                  order.with("metadata", body{"a": "1", "b": "2", "c": ""}),
		"a pair less":                  order.with("metadata", body{"a": "1"}),
		"no metadata":                  order.with("metadata", nil),
		"an authorization":             order.with("capture", false),
		"a card instead":               card,
		"a source that is not there":   order.with("source_account", "nobody-"+c.id),
		"an amount that breaks a rule": order.with("amount", 0),
	} {
		t.Run(name, func(t *testing.T) {
			refused := c.in(t).charge(c.other, other, c.key("k"))
			refused.wantProblem(422, "idempotency_key_reused")
			if refused.paymentID() != paid.paymentID() {
				refused.fail("does not name the original, %s", paid.paymentID())
			}
		})
	}
	// A request that cannot be read is no request, and says nothing about the key.
	c.charge(c.other, order.with("amount", "100"), c.key("k")).wantProblem(400, "invalid_request")
	c.post(c.other, "/payments?utm_source=mail", order.String(), c.key("k")).
		wantProblem(400, "invalid_request").wantFresh()
	c.charge(c.other, order, c.key("k")).wantReplayOf(paid)
	c.wantMoved(100)
}

// Another method or path is another request.
func otherOperation(t *testing.T, c *caller) {
	one, other := c.authorize(100, c.key("one")), c.authorize(50, c.key("other"))
	captured := c.post(c.first, one+"/capture", `{"amount":70}`, c.key("k")).want(200).wantFresh()
	for name, another := range map[string]struct{ path, body string }{
		"capturing another payment": {other + "/capture", `{"amount":70}`},
		"capturing more":            {one + "/capture", `{"amount":71}`},
		"capturing all":             {one + "/capture", ""},
		"canceling":                 {one + "/cancel", ""},
		"refunding as much":         {one + "/refunds", `{"amount":70}`},
		"charging":                  {"/payments", c.order(70).String()},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			refused := c.post(c.other, another.path, another.body, c.key("k")).wantFresh()
			refused.wantProblem(422, "idempotency_key_reused")
			if refused.paymentID() != captured.paymentID() {
				refused.fail("does not name the original, %s", captured.paymentID())
			}
			c.post(c.other, one+"/capture", `{"amount":70}`, c.key("k")).wantReplayOf(captured)
		})
	}
	c.post(c.other, other+"/capture", "", c.key("other")).wantProblem(422,
		"idempotency_key_reused")
	// nothing had happened to it
	c.post(c.other, other+"/cancel", "", c.key("cancel")).want(200).wantFresh()
	c.wantMoved(70)
}

func rewrittenDefaults(t *testing.T, c *caller) {
	all := func(order body) body {
		return order.with("capture", true).with("description", "").with("metadata",
			body{}).with("reference", nil)
	}
	for name, pair := range map[string]struct{ first, again func(body) body }{
		"capture is true": {body.itself, func(b body) body {
			return b.with("capture", true)
		}},
		"capture is null": {body.itself, func(b body) body { return b.with("capture", nil) }},
		"metadata is empty": {body.itself, func(b body) body {
			return b.with("metadata", body{})
		}},
		"metadata is null": {body.itself, func(b body) body {
			return b.with("metadata", nil)
		}},
		"reference is null": {body.itself, func(b body) body {
			return b.with("reference", nil)
		}},
		"reference is empty": {body.itself, func(b body) body {
			return b.with("reference", "")
		}},
		"no payment method": {body.itself, func(b body) body {
			return b.with("payment_method", nil)
		}},
		"all of them written":  {body.itself, all},
		"all of them left out": {all, body.itself},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.another(t)
			paid := c.charge(c.first, pair.first(c.order(100)), c.key("k")).want(201)
			c.charge(c.other, pair.again(c.order(100)), c.key("k")).wantReplayOf(paid)
			c.wantMoved(100)
		})
	}
	t.Run("metadata in another order, with other escapes", func(t *testing.T) {
		c := c.another(t)
		order := strings.TrimSuffix(c.order(100).String(), "}") + `,"metadata":`
		paid := c.chargeText(c.first, order+`{"a":"1","b":"ü/😀"}}`, c.key("k")).want(201)
		again := order + `{"b":"\u00fc\/\ud83d\ude00","\u0061":"\u0031"}}`
		c.chargeText(c.other, again, c.key("k")).wantReplayOf(paid)
		c.wantMoved(100)
	})
	t.Run("a body that asks for nothing", func(t *testing.T) {
		c := c.another(t)
		path := c.authorize(100, c.key("hold")) + "/capture"
		captured := c.post(c.first, path, "", c.key("k")).want(200)
		for _, same := range []string{"{}", `{"amount":null}`} {
			c.post(c.other, path, same, c.key("k")).wantReplayOf(captured)
		}
	})
}

func rewrittenRequest(t *testing.T, c *caller) {
	const (
		accounts = `"source_account":"alice-ID","destination_account":"shop-ID"`
		plain    = `{"amount":100,"currency":"USD",` + accounts + `}`
	)
	for name, text := range map[string]string{
		"members in another order": `{` + accounts + `,"currency":"USD","amount":100}`,
		"white space": "\r\n\t{ \"amount\" : 100 ,\"currency\":\"USD\",\n" +
			accounts + "\t} \n",
		"escapes in values": `{"amount":100,"currency":"\u0055SD",
			"source_account":"\u0061lice-ID","destination_account":"sh\u006fp-ID"}`,
		"escapes in names": `{"\u0061mount":100,"currency":"USD",
			"source\u005faccount":"alice-ID","destination_account":"shop-ID"}`,
		"a default": `{"amount":100,"currency":"USD","description":"",` + accounts + `}`,
		"null":      `{"amount":100,"currency":"USD","description":null,` + accounts + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := c.another(t)
			once, again := strings.ReplaceAll(plain, "ID", c.id),
				strings.ReplaceAll(text, "ID", c.id)
			paid := c.chargeText(c.first, once, c.key("k")).want(201)
			c.chargeText(c.other, again, c.key("k")).wantReplayOf(paid)
			c.wantMoved(100)
		})
	}
	t.Run("headers", func(t *testing.T) {
		c := c.another(t)
		paid := c.charge(c.first, c.order(100), c.key("k")).want(201)
		c.send(c.other, request{
			method: "POST", path: "/payments", body: c.order(100).String(),
			keys: []string{c.key("k")},
			header: http.Header{
				"Content-Type": {"application/json; charset=utf-8"}, "User-Agent": {"another"},
				"X-Request-Id": {strings.Repeat("x", 10)},
				"Accept":       {"application/json"}, "Accept-Language": {"de"},
				"Date": {"Tue, 24 Nov 2026 01:00:00 GMT"},
			},
		}).wantReplayOf(paid)
		c.wantMoved(100)
	})
}
