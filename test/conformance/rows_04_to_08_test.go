package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Row 4: first request, executed: 201 + Location; the answer is stored with the payment.
func firstRequest(t *testing.T, c *caller) {
	paid := c.charge(c.first, c.order(4999).with("description", "Größe <M> & \u2028"), c.key("k")).want(http.StatusCreated).wantFresh()
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
	want.Status, want.Currency, want.Description, want.Amount = "succeeded", "USD", "Größe <M> & \u2028", 4999
	want.Source, want.Destination = c.alice, c.shop
	if payment != want || payment.ID == "" || at.IsZero() {
		paid.fail("is not the payment that was asked for")
	}
	if location := paid.header.Get("Location"); location != "/payments/"+payment.ID {
		paid.fail("has the Location %q", location)
	}
	for _, at := range []string{c.first, c.other} {
		c.get(at, "/payments/"+payment.ID).want(http.StatusOK).wantSameJSON(paid)
	}
}

// Row 5: same key, same request, later, on this or another instance: the stored status and the same body bytes, Location and
// Idempotent-Replayed: true.
func sameRequestLater(_ *testing.T, c *caller) {
	order := c.order(100).with("description", "once")
	paid := c.charge(c.first, order, c.key("k")).want(http.StatusCreated).wantFresh()
	for _, at := range []string{c.other, c.first, c.other} {
		c.charge(at, order, c.key("k")).wantReplayOf(paid)
	}
	c.wantMoved(100)
}

// Row 5, at the same moment. The rounds of two are those that a look before the claim gets wrong most often.
func sameRequestAtOnce(t *testing.T, c *caller) {
	moved := int64(0)
	for round, n := range []int{2, 2, 2, 2, 2, 10, 10, 100} {
		key := c.key(fmt.Sprint("round ", round))
		answers := c.crowd(n, func(int) (string, body) { return key, c.order(7) })
		wantOneExecution(t, answers).want(http.StatusCreated)
		moved += 7
		c.wantMoved(moved)
	}
}

// Row 5: a concurrent duplicate waits for the first and replays it, instead of 409.
func duplicateWaits(_ *testing.T, c *caller) {
	release := c.hold(c.alice)
	first, second := make(chan *answer, 1), make(chan *answer, 1)
	go func() { first <- c.charge(c.first, c.order(100), c.key("k")) }()
	c.awaitWaiting(1)
	go func() { second <- c.charge(c.other, c.order(100), c.key("k")) }()
	c.awaitWaiting(2)
	release()
	(<-second).wantReplayOf((<-first).want(http.StatusCreated).wantFresh())
	c.wantMoved(100)
}

// Row 7: same key, other request: 422 idempotency_key_reused, with payment_id of the original; the original keeps replaying.
func otherRequest(t *testing.T, c *caller) {
	order := c.order(100).with("description", "one pair of shoes")
	paid := c.charge(c.first, order, c.key("k")).want(http.StatusCreated)
	for name, other := range map[string]body{
		"amount":          order.with("amount", 101),
		"currency":        order.with("currency", "EUR"),
		"source":          order.with("source_account", c.shop+"-2"),
		"destination":     order.with("destination_account", c.alice+"-2"),
		"direction":       order.with("source_account", c.shop).with("destination_account", c.alice),
		"description":     order.with("description", "two pairs of shoes"),
		"letters":         order.with("description", "One pair of shoes"),
		"no description":  order.with("description", ""),
		"against a rule":  order.with("amount", -100),
		"against another": order.with("destination_account", c.alice),
	} {
		t.Run(name, func(t *testing.T) {
			c := c.in(t)
			refused := c.charge(c.other, other, c.key("k")).wantFresh()
			refused.wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
			if refused.paymentID() != paid.paymentID() {
				refused.fail("does not name the original, %s", paid.paymentID())
			}
			c.charge(c.first, order, c.key("k")).wantReplayOf(paid)
		})
	}
	c.wantMoved(100)
}

// Row 7, at the same moment.
func otherRequestAtOnce(t *testing.T, c *caller) {
	moved := int64(0)
	for round := range 5 {
		key := c.key(fmt.Sprint("round ", round))
		orders := []body{c.order(1), c.order(2)}
		var byOrder [2][]*answer
		for i, a := range c.crowd(20, func(i int) (string, body) { return key, orders[i/2%2] }) {
			byOrder[i/2%2] = append(byOrder[i/2%2], a)
		}
		won, lost := 0, 1
		if byOrder[0][0].status != http.StatusCreated {
			won, lost = 1, 0
		}
		paid := wantOneExecution(t, byOrder[won]).want(http.StatusCreated)
		for _, a := range byOrder[lost] {
			if a.wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused").paymentID() != paid.paymentID() {
				a.fail("does not name %s, which won", paid.paymentID())
			}
		}
		moved += int64(won) + 1
		c.wantMoved(moved)
	}
}

// Row 7: another request is also one with another method or path.
func otherOperation(t *testing.T, c *caller) {
	one, other := c.authorize(100, c.key("one")), c.authorize(50, c.key("other"))
	captured := c.post(c.first, one+"/capture", `{"amount":70}`, c.key("k")).want(http.StatusOK).wantFresh()
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
			refused.wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
			if refused.paymentID() != captured.paymentID() {
				refused.fail("does not name the original, %s", captured.paymentID())
			}
			c.post(c.other, one+"/capture", `{"amount":70}`, c.key("k")).wantReplayOf(captured)
		})
	}
	c.post(c.other, other+"/capture", "", c.key("other")).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
	c.post(c.other, other+"/cancel", "", c.key("cancel")).want(http.StatusOK).wantFresh() // nothing had happened to it
	c.wantMoved(70)
}

// Row 8: member order, white space, \u escapes, an explicit default, headers do not matter.
func rewrittenRequest(t *testing.T, c *caller) {
	for name, rewrite := range map[string]func(alice, shop string) string{
		"members in another order": func(alice, shop string) string {
			return fmt.Sprintf(`{"destination_account":%q,"source_account":%q,"currency":"USD","amount":100}`, shop, alice)
		},
		"white space": func(alice, shop string) string {
			return fmt.Sprintf("\r\n\t{ \"amount\" : 100 ,\"currency\":\"USD\",\n\"source_account\":%q,\t"+
				"\"destination_account\":%q } \n", alice, shop)
		},
		"escapes in values": func(alice, shop string) string {
			return fmt.Sprintf(`{"amount":100,"currency":"\u0055SD","source_account":"\u0061%s","destination_account":"sh\u006f%s"}`,
				alice[1:], shop[3:])
		},
		"escapes in names": func(alice, shop string) string {
			return fmt.Sprintf(`{"\u0061mount":100,"currency":"USD","source\u005faccount":%q,"destination_account":%q}`, alice, shop)
		},
		"an explicit default": func(alice, shop string) string {
			return fmt.Sprintf(`{"amount":100,"currency":"USD","source_account":%q,"destination_account":%q,"description":""}`,
				alice, shop)
		},
		"null for a default": func(alice, shop string) string {
			return fmt.Sprintf(`{"amount":100,"currency":"USD","source_account":%q,"destination_account":%q,"description":null}`,
				alice, shop)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.another(t)
			plain := fmt.Sprintf(`{"amount":100,"currency":"USD","source_account":%q,"destination_account":%q}`, c.alice, c.shop)
			paid := c.chargeText(c.first, plain, c.key("k")).want(http.StatusCreated)
			c.chargeText(c.other, rewrite(c.alice, c.shop), c.key("k")).wantReplayOf(paid)
			c.wantMoved(100)
		})
	}
	t.Run("headers", func(t *testing.T) {
		c := c.another(t)
		paid := c.charge(c.first, c.order(100), c.key("k")).want(http.StatusCreated)
		c.send(c.other, request{
			method: http.MethodPost, path: "/payments", body: c.order(100).String(), keys: []string{c.key("k")},
			header: http.Header{
				"Content-Type": {"application/json; charset=utf-8"}, "User-Agent": {"another"}, "X-Request-Id": {strings.Repeat("x", 10)},
				"Accept": {"application/json"}, "Accept-Language": {"de"}, "Date": {"Tue, 24 Nov 2026 01:00:00 GMT"},
			},
		}).wantReplayOf(paid)
		c.wantMoved(100)
	})
}
