package httpapi_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// call is one request.
type call struct {
	method, path string
	// beside the credential and the body's type; a nil value takes one of these away
	header http.Header
	body   string
}

// send sends a request, and checks the rules of every answer.
func (m *merchant) send(in *instance, c call) *answer {
	m.t.Helper()
	req, err := http.NewRequest(c.method, in.url+c.path, strings.NewReader(c.body))
	if err != nil {
		m.t.Errorf("%s %s: %v", c.method, c.path, err)
		return &answer{t: m.t}
	}
	req.Header.Set("Authorization", "Bearer "+m.apiKey)
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, c.header)
	got := m.caller.Send(req)
	a := &answer{
		t: m.t, what: req.Method + " " + req.URL.Path, status: got.Status,
		header: got.Header, body: got.Body,
	}
	if got.Err != nil {
		m.t.Errorf("%s: %v", a.what, got.Err)
		return a
	}
	a.check()
	return a
}

// answer is what came back.
type answer struct {
	t      *testing.T
	what   string // was asked
	status int
	header http.Header
	body   []byte
}

// problem is the document that every refusal and every failure is (RFC 9457), in the
// contract's words.
type problem struct {
	Type, Title, Detail, Code, Retry string
	Status                           int
	RequestID                        string `json:"request_id"`
	PaymentID                        string `json:"payment_id"`
	Errors                           []struct{ Pointer, Detail string }
}

// retryOf is what the contract says about the key, for the codes where it does not say
// "same_key".
var retryOf = map[string]string{
	"insufficient_funds":      "new_key",
	"card_declined":           "new_key",
	"idempotency_key_reused":  "never",
	"idempotency_key_expired": "never",
	"duplicate_reference":     "never",
}

// internals are what no caller should learn: statements, stacks, file names, the
// libraries and their errors.
var internals = regexp.MustCompile(
	`(?i)\b(select|insert|update|delete|returning)\b.*\b(from|into|set|where)\b` +
		`|goroutine|\.go:|/go/|panic|runtime error|sqlstate|pgx|pgconn|postgres|constraint` +
		`|idempotency_keys|[0-9A-Z]{5}\)$`)

// check is what is true of every answer and neither the comparison with the published
// contract nor the conformance suite shows. Answers of net/http itself do not come here.
func (a *answer) check() {
	a.t.Helper()
	switch length, err := strconv.Atoi(a.header.Get("Content-Length")); {
	case a.status == http.StatusNoContent:
		if a.header.Get("Content-Length") != "" || len(a.body) != 0 {
			a.fail("has no content, and says otherwise")
		}
	case err != nil:
		a.fail("has no Content-Length: cut short, it would not be noticed")
	case length != len(a.body) && !strings.HasPrefix(a.what, http.MethodHead):
		a.fail("has %d bytes, and says %d", len(a.body), length)
	}
	if a.status >= 400 {
		a.checkProblem()
	}
}

// checkProblem checks what the schema of a problem document cannot say.
func (a *answer) checkProblem() {
	a.t.Helper()
	p := a.problem()
	executed := a.requestID() // the request that the document is about
	if a.replayed() {
		executed = a.header.Get("Original-Request-Id")
	}
	retry := cmp.Or(retryOf[p.Code], "same_key")
	for member, ok := range map[string]bool{
		"type": p.Type == "/docs/errors/"+p.Code, "status": p.Status == a.status,
		"retry": p.Retry == retry, "request_id": p.RequestID == executed,
		"payment_id": (p.PaymentID != "") ==
			(retry != "same_key" || p.Code == "idempotency_key_in_progress"),
	} {
		if !ok {
			a.fail("is a problem whose %s is wrong", member)
		}
	}
	if leak := internals.FindString(p.Title + p.Detail); leak != "" {
		a.fail("tells its caller %q", leak)
	}
}

// fail reports an answer without ending the test: answers are judged on many
// goroutines.
func (a *answer) fail(format string, args ...any) {
	a.t.Helper()
	a.t.Errorf("the answer to %s "+format+": %d %s",
		append(append([]any{a.what}, args...), a.status, a.body)...)
}

func (a *answer) location() string { return a.header.Get("Location") }

func (a *answer) requestID() string { return a.header.Get("Request-Id") }

func (a *answer) replayed() bool { return a.header.Get("Idempotent-Replayed") == "true" }

// problem reads the answer as a problem document.
func (a *answer) problem() (p problem) {
	a.t.Helper()
	if len(a.body) > 0 { // HEAD has none
		a.decode(&p)
	}
	return p
}

// decode reads the answer as JSON.
func (a *answer) decode(value any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, value); err != nil {
		a.fail("cannot be decoded (%v)", err)
	}
}

// paymentID is the payment that the answer is about.
func (a *answer) paymentID() string {
	a.t.Helper()
	var about struct {
		ID        string
		PaymentID string `json:"payment_id"`
	}
	a.decode(&about)
	return about.ID + about.PaymentID
}

// paymentAbout is the payment that the answer is about, also that of a refund.
func (a *answer) paymentAbout() string {
	a.t.Helper()
	var about struct {
		PaymentID string `json:"payment_id"`
	}
	a.decode(&about)
	return cmp.Or(about.PaymentID, a.paymentID())
}

// want ends the test unless the answer has the status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d %s; want %d", a.what, a.status, a.body, status)
	}
	return a
}

// wantProblem ends the test unless the answer is that problem. Its status is compared
// with the published contract, as every answer is.
func (a *answer) wantProblem(code string) *answer {
	a.t.Helper()
	if got := a.problem().Code; got != code {
		a.t.Fatalf("%s: %d %s; want %s", a.what, a.status, a.body, code)
	}
	return a
}

// wantErrorAt checks which member of the request is named as the wrong one.
func (a *answer) wantErrorAt(pointer string) {
	a.t.Helper()
	if errors := a.problem().Errors; len(errors) == 0 || errors[0].Pointer != pointer {
		a.fail("blames %v, and not %s", errors, pointer)
	}
}

// wantFresh checks that the answer was made for this very request.
func (a *answer) wantFresh() *answer {
	a.t.Helper()
	if a.replayed() {
		a.fail("is a replay of %s", a.header.Get("Original-Request-Id"))
	}
	return a
}

// wantReplayOf checks that the answer is the first one once more: its status, its
// bytes, its place, and its origin.
func (a *answer) wantReplayOf(first *answer) *answer {
	a.t.Helper()
	origin := first.requestID()
	if first.replayed() {
		origin = first.header.Get("Original-Request-Id")
	}
	switch {
	case !a.replayed():
		a.fail("is no replay of %d %s", first.status, first.body)
	case a.status != first.status, !bytes.Equal(a.body, first.body):
		a.fail("replays %d %s otherwise", first.status, first.body)
	case a.location() != first.location(), a.header.Get("Content-Type") != first.header.Get(
		"Content-Type",
	):
		a.fail("replays other headers: %v, and first %v", a.header, first.header)
	case a.header.Get("Original-Request-Id") != origin:
		a.fail("names the request %s as its original, and not %s",
			a.header.Get("Original-Request-Id"), origin)
	}
	return a
}
