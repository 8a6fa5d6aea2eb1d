package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Row 15: replay after a refund, capture, cancel: the original answer; GET shows today's state.
func replayAfterRefund(_ *testing.T, c *caller) {
	order := c.order(100).with("capture", false)
	held := c.charge(c.first, order, c.key("hold")).want(http.StatusCreated).wantStatus("authorized")
	path := held.header.Get("Location")
	captured := c.post(c.first, path+"/capture", "", c.key("capture")).want(http.StatusOK).wantStatus("succeeded")
	refunded := c.post(c.first, path+"/refunds", `{"amount":40}`, c.key("refund")).want(http.StatusCreated).wantStatus("succeeded")
	c.post(c.first, path+"/refunds", "", c.key("the rest")).want(http.StatusCreated)
	for _, at := range []string{c.other, c.first} {
		c.charge(at, order, c.key("hold")).wantReplayOf(held)
		c.post(at, path+"/capture", "", c.key("capture")).wantReplayOf(captured)
		c.post(at, path+"/refunds", `{"amount":40}`, c.key("refund")).wantReplayOf(refunded)
		now := c.get(at, path).want(http.StatusOK).wantStatus("succeeded")
		var payment struct {
			Refunded int64 `json:"amount_refunded"`
		}
		if err := json.Unmarshal(now.body, &payment); err != nil || payment.Refunded != 100 {
			now.fail("does not show that 100 were refunded")
		}
	}
	c.wantMoved(0)
}

// Row 15, for an authorization that was canceled.
func replayAfterCancel(_ *testing.T, c *caller) {
	order := c.order(100).with("capture", false)
	held := c.charge(c.first, order, c.key("hold")).want(http.StatusCreated).wantStatus("authorized")
	path := held.header.Get("Location")
	canceled := c.post(c.first, path+"/cancel", "", c.key("cancel")).want(http.StatusOK).wantStatus("canceled")
	for _, at := range []string{c.other, c.first} {
		c.charge(at, order, c.key("hold")).wantReplayOf(held)
		c.post(at, path+"/cancel", "", c.key("cancel")).wantReplayOf(canceled)
		c.get(at, path).want(http.StatusOK).wantStatus("canceled")
	}
	c.wantMoved(0)
}

// Row 15, for what is written on a payment.
func replayAfterEdit(_ *testing.T, c *caller) {
	order := c.order(100).with("description", "as it was")
	paid := c.charge(c.first, order, c.key("k")).want(http.StatusCreated)
	c.send(c.first, request{
		method: http.MethodPatch, path: paid.header.Get("Location"), body: `{"description":"as it is"}`,
		header: http.Header{"If-Match": {`"1"`}},
	}).want(http.StatusOK)
	c.charge(c.other, order, c.key("k")).wantReplayOf(paid)
	if now := c.get(c.other, paid.header.Get("Location")); now.member("description") != "as it is" {
		now.fail("does not show the edit")
	}
}

// answersOfEveryKind charges under a quoted key, and returns an answer of every kind that a keyed request can get.
func (c *caller) answersOfEveryKind(key string) map[string]*answer {
	key2 := key[:len(key)-1] + `2"`
	return map[string]*answer{
		"refused":    c.charge(c.first, c.order(0), key).wantProblem(http.StatusUnprocessableEntity, "unprocessable"),
		"unreadable": c.chargeText(c.first, `{`, key).wantProblem(http.StatusBadRequest, "invalid_request"),
		"executed":   c.charge(c.first, c.order(100), key).want(http.StatusCreated),
		"replayed":   c.charge(c.other, c.order(100), key).want(http.StatusCreated),
		"reused":     c.charge(c.other, c.order(101), key).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused"),
		"declined":   c.charge(c.first, c.order(aliceHas+1), key2).wantProblem(http.StatusPaymentRequired, "insufficient_funds"),
	}
}

// Row 16: every answer to a keyed request: Idempotency-Key echoed; row 3: as received.
func echoedKey(_ *testing.T, c *caller) {
	for _, a := range c.answersOfEveryKind(`"` + c.key(`a\\b`) + `"`) {
		if got := a.header.Get("Idempotency-Key"); got != a.key {
			a.fail("echoes the key %q as %q", a.key, got)
		}
	}
	for _, unreadable := range []string{strings.Repeat("k", 300), `"unterminated`, "schlüssel"} {
		if a := c.charge(c.other, c.order(100), unreadable); a.header.Get("Idempotency-Key") != unreadable {
			a.fail("echoes the key as %q", a.header.Get("Idempotency-Key"))
		}
	}
	if a := c.charge(c.other, c.order(100), "bare-"+c.id); a.header.Get("Idempotency-Key") != "bare-"+c.id {
		a.fail("echoes the key as %q", a.header.Get("Idempotency-Key"))
	}
}

// Row 16: Request-Id new; a replay adds Original-Request-Id.
func requestIDs(_ *testing.T, c *caller) {
	answers := c.answersOfEveryKind(`"` + c.key("k") + `"`)
	seen := map[string]bool{}
	for kind, a := range answers {
		id, original := a.header.Get("Request-Id"), ""
		if kind == "replayed" {
			original = answers["executed"].header.Get("Request-Id")
		}
		if id == "" || seen[id] {
			a.fail("has the Request-Id %q, which is none of its own", id)
		}
		if got := a.header.Get("Original-Request-Id"); got != original {
			a.fail("has the Original-Request-Id %q, want %q", got, original)
		}
		seen[id] = true
	}
}

// Row 17: client gone. Whether the key was claimed by then is not for a client to know; that its retry is safe is.
func clientGone(_ *testing.T, c *caller) {
	const keys = 20
	for i := range keys {
		key := c.key(fmt.Sprint("gone ", i))
		for range 3 {
			hangUp(c.raw(c.order(1), key))
		}
		paid := c.charge(c.other, c.order(1), key).want(http.StatusCreated)
		c.charge(c.first, c.order(1), key).wantReplayOf(paid)
	}
	c.wantMoved(keys)
}

// Row 17: what was answered was committed before, so who hears the first byte and no more can have the rest.
func answerLost(_ *testing.T, c *caller) {
	const keys = 20
	for i := range keys {
		key := c.key(fmt.Sprint("lost ", i))
		conn := c.raw(c.order(1), key)
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			c.t.Fatalf("waiting for the answer's first byte: %v", err)
		}
		hangUp(conn)
		again := c.charge(c.other, c.order(1), key).want(http.StatusCreated)
		if !again.replayed() {
			again.fail("is new, although the request was answered before")
		}
	}
	c.wantMoved(keys)
}

// Row 17: a charge whose key was claimed completes.
func clientGoneAfterClaim(_ *testing.T, c *caller) {
	release := c.hold(c.alice)
	conn := c.raw(c.order(100), c.key("k"))
	c.awaitWaiting(1)
	hangUp(conn)
	for range 50 { // requests to the same instance, in whose time it notices
		c.get(c.first, "/accounts/"+c.shop).want(http.StatusOK)
	}
	release()
	retried := c.charge(c.other, c.order(100), c.key("k")).want(http.StatusCreated)
	if !retried.replayed() {
		retried.fail("is new: the charge that was under way has been given up")
	}
	c.wantMoved(100)
}

// Row 18: service dies anywhere: after restart the same key gives one answer; nothing waits for a stale lock.
func instanceKilled(_ *testing.T, c *caller) {
	c.charge(c.first, c.order(1), c.key("before")).want(http.StatusCreated)
	no := c.charge(c.first, c.order(aliceHas+1), c.key("declined")).want(http.StatusPaymentRequired)
	release := c.hold(c.alice)
	conn := c.raw(c.order(100), c.key("k")) // claims its key, and waits for its account
	defer conn.Close()
	c.awaitWaiting(1)
	c.kill()
	release()
	began := time.Now()
	paid := c.charge(c.other, c.order(100), c.key("k")).want(http.StatusCreated).wantFresh()
	if took := time.Since(began); took > 5*time.Second {
		paid.fail("took %v", took)
	}
	c.charge(c.other, c.order(100), c.key("k")).wantReplayOf(paid)
	if before := c.charge(c.other, c.order(1), c.key("before")); !before.replayed() {
		before.fail("is no replay of what the killed instance answered")
	}
	c.charge(c.other, c.order(aliceHas+1), c.key("declined")).wantReplayOf(no)
	c.charge(c.other, c.order(2), c.key("before")).wantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
	c.first = c.other
	c.wantMoved(101)
}
