package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

func replayAfterRefund(c *caller) {
	order := c.order(100).with("capture", false)
	held := c.charge(c.first, order, c.key("hold")).want(201).wantStatus("authorized")
	path := held.location()
	captured := c.post(c.first, path+"/capture", "", c.key("capture")).
		want(200).wantStatus("succeeded")
	refunded := c.post(c.first, path+"/refunds", `{"amount":40}`, c.key("refund")).
		want(201).wantStatus("succeeded")
	c.post(c.first, path+"/refunds", "", c.key("the rest")).want(201)
	for _, at := range []string{c.other, c.first} {
		c.charge(at, order, c.key("hold")).wantReplayOf(held)
		c.post(at, path+"/capture", "", c.key("capture")).wantReplayOf(captured)
		c.post(at, path+"/refunds", `{"amount":40}`, c.key("refund")).wantReplayOf(refunded)
		now := c.get(at, path).want(200).wantStatus("succeeded")
		var payment struct {
			Refunded int64 `json:"amount_refunded"`
		}
		if err := json.Unmarshal(now.body, &payment); err != nil || payment.Refunded != 100 {
			now.fail("does not show that 100 were refunded")
		}
	}
	c.wantMoved(0)
}

func replayAfterCancel(c *caller) {
	order := c.order(100).with("capture", false)
	held := c.charge(c.first, order, c.key("hold")).want(201).wantStatus("authorized")
	path := held.location()
	canceled := c.post(c.first, path+"/cancel", "", c.key("cancel")).
		want(200).wantStatus("canceled")
	for _, at := range []string{c.other, c.first} {
		c.charge(at, order, c.key("hold")).wantReplayOf(held)
		c.post(at, path+"/cancel", "", c.key("cancel")).wantReplayOf(canceled)
		c.get(at, path).want(200).wantStatus("canceled")
	}
	c.wantMoved(0)
}

func replayAfterEdit(c *caller) {
	order := c.order(100).with("description", "as it was")
	paid := c.charge(c.first, order, c.key("k")).want(201)
	c.send(c.first, request{
		method: "PATCH", path: paid.location(), body: `{"description":"as it is"}`,
		header: http.Header{"If-Match": {`"1"`}},
	}).want(200)
	c.charge(c.other, order, c.key("k")).wantReplayOf(paid)
	if now := c.get(c.other, paid.location()); now.member("description") != "as it is" {
		now.fail("does not show the edit")
	}
}

// answersOfEveryKind charges under a quoted key, and returns an answer of every kind
// that a keyed request can get.
func (c *caller) answersOfEveryKind(key string) map[string]*answer {
	key2 := key[:len(key)-1] + `2"`
	return map[string]*answer{
		"refused":    c.charge(c.first, c.order(0), key).wantProblem(422, "unprocessable"),
		"unreadable": c.chargeText(c.first, `{`, key).wantProblem(400, "invalid_request"),
		"executed":   c.charge(c.first, c.order(100), key).want(201),
		"replayed":   c.charge(c.other, c.order(100), key).want(201),
		"reused": c.charge(c.other, c.order(101), key).
			wantProblem(422, "idempotency_key_reused"),
		"declined": c.charge(c.first, c.order(aliceHas+1), key2).
			wantProblem(402, "insufficient_funds"),
	}
}

func echoedKey(c *caller) {
	for _, a := range c.answersOfEveryKind(`"` + c.key(`a\\b`) + `"`) {
		if got := a.header.Get("Idempotency-Key"); got != a.key {
			a.fail("echoes the key %q as %q", a.key, got)
		}
	}
	unreadable := []string{strings.Repeat("k", 300), `"unterminated`, "schlüssel"}
	for _, key := range append(unreadable, "bare-"+c.id) {
		a := c.charge(c.other, c.order(100), key)
		if got := a.header.Get("Idempotency-Key"); got != key {
			a.fail("echoes the key as %q", got)
		}
	}
}

func requestIDs(c *caller) {
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

// The client cannot know whether its key was claimed. Its retry must be safe either way.
func clientGone(c *caller) {
	const keys = 20
	for i := range keys {
		key := c.key(fmt.Sprint("gone ", i))
		for range 3 {
			conn := c.raw(c.first, c.order(1), key)
			<-time.After(time.Duration(i) * time.Millisecond) // This is the fault.
			hangUp(conn)
		}
		paid := c.charge(c.other, c.order(1), key).want(201)
		c.charge(c.first, c.order(1), key).wantReplayOf(paid)
	}
	c.wantMoved(keys)
}

// An answer leaves after the commit. The retry of a caller that got a part of the answer
// gets all of it.
func answerLost(c *caller) {
	const keys = 20
	for i := range keys {
		key := c.key(fmt.Sprint("lost ", i))
		conn := c.raw(c.first, c.order(1), key)
		if _, err := io.CopyN(io.Discard, conn, int64(1+20*i)); err != nil {
			c.t.Fatalf("waiting for a part of the answer: %v", err)
		}
		hangUp(conn)
		again := c.charge(c.other, c.order(1), key).want(201)
		if !again.replayed() {
			again.fail("is new, although the request was answered before")
		}
	}
	c.wantMoved(keys)
}

// The client gives up while its request is under way, and the retry is faster.
func requestLate(c *caller) {
	whole := c.order(100).String()
	late := c.rawPart(c.first, whole[:len(whole)-1], len(whole), c.key("k"))
	paid := c.charge(c.other, c.order(100), c.key("k")).want(201).wantFresh()
	if _, err := io.WriteString(late, whole[len(whole)-1:]); err != nil {
		c.t.Fatal(err)
	}
	c.readRaw(late).wantReplayOf(paid)
	c.wantMoved(100)
}

func clientGoneAfterClaim(c *caller) {
	release := c.hold(c.alice)
	conn := c.raw(c.first, c.order(100), c.key("k"))
	c.awaitWaiting(1)
	hangUp(conn)
	for range 50 { // requests to the same instance, in whose time it notices
		c.get(c.first, "/accounts/"+c.shop).want(200)
	}
	release()
	retried := c.charge(c.other, c.order(100), c.key("k")).want(201)
	if !retried.replayed() {
		retried.fail("is new: the charge that was under way has been given up")
	}
	c.wantMoved(100)
}

func instanceKilled(c *caller) {
	c.charge(c.first, c.order(1), c.key("before")).want(201)
	no := c.charge(c.first, c.order(aliceHas+1), c.key("declined")).want(402)
	release := c.hold(c.alice)
	conn := c.raw(c.first, c.heldOrder(100), c.key("k")) // claims its key, and waits
	defer conn.Close()
	c.awaitWaiting(1)
	c.kill()
	release()
	began := time.Now()
	paid := c.charge(c.other, c.heldOrder(100), c.key("k")).want(201).wantFresh()
	if took := time.Since(began); took > 5*time.Second {
		paid.fail("took %v", took)
	}
	c.charge(c.other, c.heldOrder(100), c.key("k")).wantReplayOf(paid)
	if before := c.charge(c.other, c.order(1), c.key("before")); !before.replayed() {
		before.fail("is no replay of what the killed instance answered")
	}
	c.charge(c.other, c.order(aliceHas+1), c.key("declined")).wantReplayOf(no)
	c.charge(c.other, c.order(2), c.key("before")).wantProblem(422, "idempotency_key_reused")
	c.first = c.other
	c.wantMoved(101)
}
