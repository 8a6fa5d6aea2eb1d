package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// webhook is an endpoint as the API shows it.
type webhook struct {
	ID             string   `json:"id"`
	URL            string   `json:"url"`
	EventTypes     []string `json:"event_types"`
	Status         string   `json:"status"`
	DisabledReason string   `json:"disabled_reason"`
	Secret         string   `json:"secret"`
	Version        int64    `json:"version"`
}

func (m *merchant) putWebhook(id, text string) *answer {
	m.t.Helper()
	return m.send(m.first, call{method: "PUT", path: "/webhook-endpoints/" + id, body: text})
}

func (a *answer) webhook() (w webhook) {
	a.decode(&w)
	return w
}

func TestPutMakesAWebhookEndpointOnce(t *testing.T) {
	m := onTwoInstances(t)
	const terms = `{"url":"https://example.com/a?b=c","event_types":["payment.succeeded"]}`
	first := m.putWebhook("erp", terms).want(201)
	made := first.webhook()
	if made.Status != "enabled" || made.Version != 1 ||
		!strings.HasPrefix(made.Secret, "whsec_") ||
		first.header.Get("ETag") != `"1"` || first.location() != "/webhook-endpoints/erp" {
		t.Errorf("it is made as %+v", made)
	}
	if again := m.putWebhook("erp", terms).want(200).webhook(); again.Secret != "" ||
		again.Version != 1 {
		t.Errorf("again it is %+v", again)
	}
	if got := m.get("/webhook-endpoints/erp").want(200); strings.Contains(string(got.body),
		"whsec_") {
		got.fail("shows the secret")
	}
	var secret struct{ Secret string }
	m.get("/webhook-endpoints/erp/secret").want(200).decode(&secret)
	if secret.Secret != made.Secret {
		t.Error("it has another secret")
	}
	changed := m.putWebhook("erp", `{"url":"https://example.com/b"}`).want(200).webhook()
	if changed.Version != 2 || len(changed.EventTypes) != 0 ||
		changed.URL != "https://example.com/b" {
		t.Errorf("changed it is %+v", changed)
	}
	m.send(m.first, call{method: "DELETE", path: "/webhook-endpoints/erp"}).want(204)
	m.get("/webhook-endpoints/erp").wantProblem("not_found")
	m.get("/webhook-endpoints/erp/attempts").wantProblem("not_found")
}

func TestWebhookTermsAreChecked(t *testing.T) {
	m := onOneInstance(t)
	for pointer, bodies := range map[string][]string{
		"/url": {
			`{"url":""}`, `{"url":"ftp://example.com"}`, `{"url":"https://u:p@example.com"}`,
			`{"url":"https://example.com/#a"}`, `{"url":"https:///a"}`, `{"url":"/a"}`,
			`{"url":"javascript:alert(1)"}`, `{"url":"https://exämple.com"}`,
			`{"url":"https://example.com/` + strings.Repeat("a", 2048) + `"}`,
			`{"url":"https://example.com/\r\nHost: other"}`, `{"url":"https://example.com:port"}`,
		},
		"/event_types": {`{"url":"https://example.com","event_types":["payment.failed"]}`},
		"/secret": {
			`{"url":"https://example.com","secret":""}`,
			`{"url":"https://example.com","secret":"whsec_"}`,
			`{"url":"https://example.com","secret":"whsec_` + strings.Repeat("A", 28) + `"}`,
			`{"url":"https://example.com","secret":"whsec_` + strings.Repeat("A", 88) + `"}`,
			`{"url":"https://example.com","secret":"` + strings.Repeat("A", 32) + `"}`,
			`{"url":"https://example.com","secret":"whsec_` + strings.Repeat("A", 33) + `"}`,
		},
		"/status": {`{"url":"https://example.com","status":"gone"}`},
	} {
		for _, body := range bodies {
			m.putWebhook("erp", body).wantProblem("unprocessable").wantErrorAt(pointer)
		}
	}
	m.putWebhook("-erp", `{"url":"https://example.com"}`).wantProblem("invalid_request")
	for _, size := range []string{
		strings.Repeat("A", 32), strings.Repeat("A", 84) + "AA==", // 24 and 64 bytes
	} {
		got := m.putWebhook("erp"+size[:3]+fmt.Sprint(len(size)),
			`{"url":"http://[2606:4700::1111]:81/a?b=%41","secret":"whsec_`+size+`"}`).want(201)
		if got.webhook().Secret != "" {
			got.fail("shows a secret that the caller has given")
		}
	}
}

func TestMerchantHasAtMostTwentyWebhookEndpoints(t *testing.T) {
	m := onTwoInstances(t)
	made := 0
	for _, a := range atOnce(25, func(i int) *answer {
		return m.putWebhook(fmt.Sprint("erp-", i), `{"url":"https://example.com"}`)
	}) {
		if a.status == 201 {
			made++
		} else {
			a.wantProblem("unprocessable")
		}
	}
	if made != 20 {
		t.Errorf("%d were made", made)
	}
	var page struct{ Data []webhook }
	m.get("/webhook-endpoints?limit=100").want(200).decode(&page)
	if len(page.Data) != 20 {
		t.Errorf("the list has %d", len(page.Data))
	}
	m.another(t).putWebhook("erp", `{"url":"https://example.com"}`).want(201)
}

func TestIfMatchGuardsAWebhookEndpoint(t *testing.T) {
	m := onOneInstance(t)
	const terms = `{"url":"https://example.com"}`
	send := func(method, path, tag, body string) *answer {
		return m.send(m.first, call{
			method: method, path: "/webhook-endpoints/erp" + path, body: body,
			header: http.Header{"If-Match": {tag}},
		})
	}
	send("PUT", "", "*", terms).wantProblem("precondition_failed")
	m.putWebhook("erp", terms).want(201)
	send("PUT", "", `"2"`, terms).wantProblem("precondition_failed")
	send("PUT", "", `W/"1"`, `{"url":"https://example.com/2"}`).want(200)
	send("PUT", "", `"1"`, terms).wantProblem("precondition_failed")
	m.send(m.first, call{method: "PUT", path: "/webhook-endpoints/erp/secret"}).
		wantProblem("precondition_required")
	send("PUT", "/secret", `"1"`, "").wantProblem("precondition_failed")
	rotated := send("PUT", "/secret", `"2"`, "").want(200)
	if rotated.header.Get("ETag") != `"3"` ||
		!strings.Contains(string(rotated.body), `"previous_secret_valid_until":"20`) {
		rotated.fail("is no rotation")
	}
	send("PUT", "/secret", `"2"`, "").wantProblem("precondition_failed") // a retry
	send("DELETE", "", `"2"`, "").wantProblem("precondition_failed")
	send("DELETE", "", `"2", "3"`, "").want(204)
	send("DELETE", "", "*", "").wantProblem("not_found")
}

func TestDisabledWebhookEndpointTakesNoTest(t *testing.T) {
	m := onOneInstance(t)
	off := m.putWebhook("erp", `{"url":"https://example.com","status":"disabled"}`).want(201)
	if got := off.webhook(); got.Status != "disabled" || got.DisabledReason != "requested" {
		t.Errorf("it is %+v", got)
	}
	test := call{method: "POST", path: "/webhook-endpoints/erp/test"}
	m.send(m.first, test).wantProblem("unprocessable")
	on := m.putWebhook("erp", `{"url":"https://example.com","status":"enabled"}`).want(200)
	if got := on.webhook(); got.Status != "enabled" || got.DisabledReason != "" {
		t.Errorf("it is %+v", got)
	}
	m.send(m.first, test).want(202)
}

// A charge, its event at a receiver, which verifies it, and the attempt in the list. The
// database's audit looks for lost deliveries after the test.
func TestChargeArrivesAtTheReceiver(t *testing.T) {
	m := withSettings(t, settings{privateReceivers: true})
	got := make(chan *http.Request, 10)
	bodies := make(chan []byte, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- r
		bodies <- body
	}))
	t.Cleanup(receiver.Close)
	made := m.putWebhook("erp", `{"url":"`+receiver.URL+`"}`).want(201).webhook()
	m.work(t)

	paid := m.charge("k", aliceToShop(100)).want(201)
	request, body := <-got, <-bodies
	verifier, err := standardwebhooks.NewWebhook(made.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(body, request.Header); err != nil {
		t.Error(err)
	}
	var event struct {
		ID, Type  string
		PaymentID string `json:"payment_id"`
		Data      json.RawMessage
	}
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	if event.Type != "payment.succeeded" || event.PaymentID != paid.paymentID() ||
		string(event.Data) != string(paid.body) || event.ID != request.Header.Get("webhook-id") {
		t.Errorf("the event is %s", body)
	}
	var page struct {
		Data []struct {
			EventID    string `json:"event_id"`
			StatusCode int    `json:"status_code"`
		}
	}
	await.Until(t, patience, "the attempt is listed", func() bool {
		m.get("/webhook-endpoints/erp/attempts").want(200).decode(&page)
		return len(page.Data) == 1
	})
	if page.Data[0].EventID != event.ID || page.Data[0].StatusCode != 200 {
		t.Errorf("the attempt is %+v", page.Data[0])
	}
	var queued struct {
		Endpoints []string `json:"webhook_endpoints"`
	}
	again := call{method: "POST", path: "/events/" + event.ID + "/redeliver"}
	again.body = `{"webhook_endpoint":"other"}`
	if m.send(m.first, again).want(202).decode(&queued); len(queued.Endpoints) != 0 {
		t.Errorf("it is sent to %v", queued.Endpoints)
	}
	again.body = `{"webhook_endpoint":"erp"}`
	if m.send(m.first, again).want(202).decode(&queued); len(queued.Endpoints) != 1 {
		t.Errorf("it is sent to %v", queued.Endpoints)
	}
	if second := <-got; second.Header.Get("webhook-id") != event.ID {
		t.Errorf("it was sent again as %s", second.Header.Get("webhook-id"))
	}
	m.send(m.first, call{method: "POST", path: "/webhook-endpoints/erp/test"}).want(202)
	if test := <-got; test.Header.Get("webhook-id") == event.ID {
		t.Error("the test event has the id of another")
	}
	if strings.Contains(m.first.Log.String(), made.Secret) {
		t.Error("the log has the secret")
	}
}

// work delivers webhooks until the test is over, as the workers of an instance do.
func (m *merchant) work(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { m.other.Webhooks.FanOut(ctx) })
	running.Go(func() { m.first.Webhooks.Deliver(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}
