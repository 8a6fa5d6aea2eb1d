package conformance

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func firstRequest(c *caller) {
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

func sameRequestLater(c *caller) {
	order := c.order(100).with("description", "once")
	paid := c.charge(c.first, order, c.key("k")).want(201).wantFresh()
	for _, at := range []string{c.other, c.first, c.other} {
		c.charge(at, order, c.key("k")).wantReplayOf(paid)
	}
	c.wantMoved(100)
}

// A read before the claim fails most often in the rounds of two.
func sameRequestAtOnce(c *caller) {
	moved := int64(0)
	for round, n := range []int{2, 2, 2, 2, 2, 10, 10, 100} {
		key := c.key(fmt.Sprint("round ", round))
		wantOneExecution(c.crowd(n, func(int) request {
			return charging(c.order(7), key)
		})).want(201)
		moved += 7
		c.wantMoved(moved)
	}
}

func duplicateWaits(c *caller) {
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

func largestAnswer(c *caller) {
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

// way is a change of a payment.
type way struct {
	path, body string
	moves      int64 // from alice to the shop, in all
}

// changes of a payment of 400, each with a rival that must not share its key.
var changes = []struct {
	name   string
	held   bool // the payment is authorized first
	ways   [2]way
	status int // of the answer to either
}{
	{"capture", true, [2]way{
		{"/capture", `{"amount":150}`, 150}, {"/capture", `{"amount":151}`, 151},
	}, http.StatusOK},
	{"cancel", true, [2]way{{"/cancel", `{}`, 0}, {"/capture", `{}`, 400}}, http.StatusOK},
	{"refund", false, [2]way{
		{"/refunds", `{"amount":150}`, 250}, {"/refunds", `{"amount":151}`, 249},
	}, http.StatusCreated},
}

func sameChangeAtOnce(c *caller) {
	for _, change := range changes {
		c.runAnew(change.name, func(c *caller) {
			for round, n := range []int{2, 3, 10, 100} {
				key := c.key(fmt.Sprint("round ", round))
				order := c.order(400).with("capture", !change.held)
				path := c.charge(c.first, order, key+" payment").want(201).location()
				way := change.ways[0]
				same := post(path+way.path, way.body, key)
				answers := c.crowd(n, func(int) request { return same })
				first := wantOneExecution(answers).want(change.status)
				c.send(c.other, same).wantReplayOf(first)
				c.wantMoved(way.moves * int64(round+1))
			}
		})
	}
}

// The crowd needs a service of its own.
func sameRequestThousandsAtOnce(c *caller) {
	const crowd = 2000
	answers := c.crowd(crowd, func(int) request { return charging(c.order(7), c.key("k")) })
	wantOneExecution(answers).want(201)
	c.wantMoved(7)
}

func otherRequest(c *caller) {
	order := c.order(100).with("description", "one pair of shoes")
	paid := c.charge(c.first, order, c.key("k")).want(201)
	for name, other := range map[string]body{
		"amount":      order.with("amount", 101),
		"currency":    order.with("currency", "EUR"),
		"source":      order.with("source_account", c.shop+"-2"),
		"destination": order.with("destination_account", c.alice+"-2"),
		"direction": order.with("source_account", c.shop).
			with("destination_account", c.alice),
		"description":     order.with("description", "two pairs of shoes"),
		"letters":         order.with("description", "One pair of shoes"),
		"no description":  order.with("description", ""),
		"against a rule":  order.with("amount", -100),
		"against another": order.with("destination_account", c.alice),
	} {
		c.run(name, func(c *caller) {
			c.charge(c.other, other, c.key("k")).wantReused(paid)
			c.charge(c.first, order, c.key("k")).wantReplayOf(paid)
		})
	}
	c.wantMoved(100)
}

func otherRequestAtOnce(c *caller) {
	moved := int64(0)
	for round := range 5 {
		key := c.key(fmt.Sprint("round ", round))
		requests := [2]request{charging(c.order(1), key), charging(c.order(2), key)}
		moved += int64(c.wantOneOfTwo(requests, http.StatusCreated)) + 1
		c.wantMoved(moved)
	}
}

func otherChangeAtOnce(c *caller) {
	for _, change := range changes {
		c.runAnew(change.name, func(c *caller) {
			order := c.order(400).with("capture", !change.held)
			path := c.charge(c.first, order, c.key("payment")).want(201).location()
			var requests [2]request
			for i, way := range change.ways {
				requests[i] = post(path+way.path, way.body, c.key("k"))
			}
			c.wantMoved(change.ways[c.wantOneOfTwo(requests, change.status)].moves)
		})
	}
}

// wantOneOfTwo sends both requests, which have one key, many times at once. One of them
// is executed once, and the other is told that the key is taken. It returns the index of
// the first.
func (c *caller) wantOneOfTwo(requests [2]request, status int) (won int) {
	c.t.Helper()
	var answers [2][]*answer
	for i, a := range c.crowd(40, func(i int) request { return requests[i/2%2] }) {
		answers[i/2%2] = append(answers[i/2%2], a)
	}
	if answers[0][0].status != status {
		won = 1
	}
	executed := wantOneExecution(answers[won]).want(status)
	for _, a := range answers[1-won] {
		a.wantReused(executed)
	}
	c.send(c.other, requests[won]).wantReplayOf(executed)
	return won
}

func otherOptions(c *caller) {
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
		"two texts exchanged": order.with("reference", "one").
			with("description", "order-"+c.id),
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
		c.run(name, func(c *caller) { c.charge(c.other, other, c.key("k")).wantReused(paid) })
	}
	// A request that cannot be read is no request, and says nothing about the key.
	c.charge(c.other, order.with("amount", "100"), c.key("k")).wantProblem(400, "invalid_request")
	c.post(c.other, "/payments?utm_source=mail", order.String(), c.key("k")).
		wantProblem(400, "invalid_request").wantFresh()
	c.charge(c.other, order, c.key("k")).wantReplayOf(paid)
	c.wantMoved(100)
}

// Another method or path is another request.
func otherOperation(c *caller) {
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
		c.run(name, func(c *caller) {
			c.post(c.other, another.path, another.body, c.key("k")).wantReused(captured)
			c.post(c.other, one+"/capture", `{"amount":70}`, c.key("k")).wantReplayOf(captured)
		})
	}
	c.post(c.other, other+"/capture", "", c.key("other")).
		wantProblem(422, "idempotency_key_reused")
	// The other payment is as it was.
	c.post(c.other, other+"/cancel", "", c.key("cancel")).want(200).wantFresh()
	c.wantMoved(70)
}

// wantOneRequest checks that two texts are one request.
func (c *caller) wantOneRequest(name, first, again string) {
	c.run(name, func(c *caller) {
		key := rand.Text()
		paid := c.chargeText(c.first, first, key).want(201)
		c.chargeText(c.other, again, key).wantReplayOf(paid)
	})
}

func rewrittenDefaults(c *caller) {
	plain := c.order(100)
	all := plain.with("capture", true).with("description", "").with("metadata", body{}).
		with("reference", nil)
	start := strings.TrimSuffix(plain.String(), "}")
	pairs := map[string][2]string{
		"all of them written":  {plain.String(), all.String()},
		"all of them left out": {all.String(), plain.String()},
		"metadata in another order, with other escapes": {
			start + `,"metadata":{"a":"1","b":"ü/😀"}}`,
			start + `,"metadata":{"b":"\u00fc\/\ud83d\ude00","\u0061":"\u0031"}}`,
		},
	}
	for _, written := range []string{
		`"capture":true`, `"capture":null`, `"metadata":{}`, `"metadata":null`,
		`"reference":null`, `"reference":""`, `"payment_method":null`,
	} {
		pairs[written] = [2]string{plain.String(), start + "," + written + "}"}
	}
	for name, pair := range pairs {
		c.wantOneRequest(name, pair[0], pair[1])
	}
	c.wantMoved(int64(100 * len(pairs)))
	c.runAnew("a body that asks for nothing", func(c *caller) {
		path := c.authorize(100, c.key("hold")) + "/capture"
		captured := c.post(c.first, path, "", c.key("k")).want(200)
		for _, same := range []string{"{}", `{"amount":null}`} {
			c.post(c.other, path, same, c.key("k")).wantReplayOf(captured)
		}
	})
}

func rewrittenRequest(c *caller) {
	const (
		accounts = `"source_account":"alice-ID","destination_account":"shop-ID"`
		plain    = `{"amount":100,"currency":"USD",` + accounts + `}`
	)
	spellings := map[string]string{
		"members in another order": `{` + accounts + `,"currency":"USD","amount":100}`,
		"white space": "\r\n\t{ \"amount\" : 100 ,\"currency\":\"USD\",\n" +
			accounts + "\t} \n",
		"escapes in values": `{"amount":100,"currency":"\u0055SD",
			"source_account":"\u0061lice-ID","destination_account":"sh\u006fp-ID"}`,
		"escapes in names": `{"\u0061mount":100,"currency":"USD",
			"source\u005faccount":"alice-ID","destination_account":"shop-ID"}`,
		"a default": `{"amount":100,"currency":"USD","description":"",` + accounts + `}`,
		"null":      `{"amount":100,"currency":"USD","description":null,` + accounts + `}`,
	}
	id := strings.NewReplacer("ID", c.id)
	for name, text := range spellings {
		c.wantOneRequest(name, id.Replace(plain), id.Replace(text))
	}
	c.wantMoved(int64(100 * len(spellings)))
	c.runAnew("headers", func(c *caller) {
		again := charging(c.order(100), c.key("k"))
		paid := c.send(c.first, again).want(201)
		again.header = http.Header{
			"Content-Type": {"application/json; charset=utf-8"}, "User-Agent": {"another"},
			"X-Request-Id": {strings.Repeat("x", 10)},
			"Accept":       {"application/json"}, "Accept-Language": {"de"},
			"Date": {"Tue, 24 Nov 2026 01:00:00 GMT"},
		}
		c.send(c.other, again).wantReplayOf(paid)
		c.wantMoved(100)
	})
}
