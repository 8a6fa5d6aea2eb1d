package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// typeCharge types a charge that will succeed.
func (c *tab) typeCharge(amount string) {
	c.Helper()
	c.fill("amount", amount)
	c.fill("source_account", journal.World)
	c.fill("destination_account", journal.Shops[0])
}

// charge charges, and returns the payment.
func (c *tab) charge(amount string) payment {
	c.Helper()
	c.typeCharge(amount)
	c.press("Charge")
	c.await("Done")
	return c.payments()[0]
}

func TestALostAnswerIsFollowedByTheSameKeyAndChargesOnce(t *testing.T) {
	c := newTab(t)
	c.press("Discard the first answer, like a broken connection")
	c.typeCharge("49.99")
	c.press("Charge")
	c.await("Done once, by an attempt whose answer did not arrive")
	c.press("Replay it 5 times at once")
	await.Until(t, patience, "five replays", func() bool {
		return strings.Count(c.text(), "the same as the first answer’s") == 5
	})
	if made := c.payments(); len(made) != 1 || made[0].Amount != 4999 {
		t.Errorf("there are %v", made)
	}
}

// A reload at the worst moment: the charge is done, and its answer is on its way.
func TestReloadedPageResolvesWhatItSent(t *testing.T) {
	c, holding := newHeldTab(t)
	key := c.key()
	c.typeCharge("49.99")
	c.press("Charge")
	holding.await(t)
	c.visit("/console")
	c.await("Unfinished")
	if text := c.text(); !strings.Contains(text, key) ||
		!strings.Contains(text, "49.99 USD from world to shop-0") {
		t.Errorf("the page does not say what is unfinished:\n%s", text)
	}
	holding.release()
	c.press("Send it again")
	c.await("Done once, by an earlier request")
	if made := c.payments(); len(made) != 1 {
		t.Errorf("there are %v", made)
	}
	c.follow("Payments", "Payments")
	if text := c.text(); strings.Contains(text, "Unfinished") {
		t.Errorf("it is still unfinished:\n%s", text)
	}
}

// newHeldTab is newTab behind a proxy that holds the first charge's answer back.
func newHeldTab(t *testing.T) (*tab, *holding) {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	in := inprocess.Start(t, db.URL)
	holding := holdAnswers(t, in.URL())
	return open(t, holding.url, journal.NewMerchant(t, in, db.URL)), holding
}

// holding is a proxy that holds the answer to the first POST back, until it is
// released.
type holding struct {
	url     string
	held    chan struct{} // closed when it has that answer
	release func()
}

func (h *holding) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.held:
	case <-time.After(patience):
		t.Fatal("no charge came")
	}
}

func holdAnswers(t *testing.T, target string) *holding {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	h := &holding{held: make(chan struct{})}
	released := make(chan struct{})
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(answer *http.Response) error {
			if answer.Request.Method == http.MethodPost {
				select {
				case <-h.held:
				default:
					close(h.held) // no other POST is under way
					<-released
				}
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}, // the page went
	}
	server := httptest.NewServer(proxy)
	h.url = server.URL
	h.release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(func() {
		h.release()
		server.Close()
	})
	return h
}

// The user may look at another view while a charge is sent. The outcome is shown there too.
func TestReloadedPageShowsTheSettledOutcome(t *testing.T) {
	c, holding := newHeldTab(t)
	c.typeCharge("49.99")
	c.press("Charge")
	holding.await(t)
	c.follow("Accounts", "Accounts")
	c.await("It is being sent.")
	holding.release()
	c.await("It was done.")
	c.press("I have seen it")
	c.follow("Payments", "Payments")
	if text := c.text(); strings.Contains(text, "Unfinished") {
		t.Errorf("it is still told:\n%s", text)
	}
}

// A charge whose outcome stayed unknown on another view can be asked about again.
func TestReloadedPageCanAskForAnUnknownOutcome(t *testing.T) {
	c := newTab(t)
	c.loseAnswers()
	evaluate[any](
		c, `{ window.lose = new Promise((resolve) => { window.lost = resolve }); null; }`,
	)
	c.typeCharge("49.99")
	c.press("Charge")
	c.follow("Accounts", "Accounts")
	c.await("It is being sent.")
	evaluate[any](c, `window.lost()`)
	c.await("Its outcome is unknown.")
	evaluate[any](c, `{
		const no = {
			status: 422, code: "unprocessable", retry: "same_key", title: "No", detail: "not now",
		};
		const headers = { "Content-Type": "application/problem+json" };
		window.fetch = async () => new Response(JSON.stringify(no), { status: 422, headers });
	}`)
	c.press("Send it again")
	c.await("The outcome is unknown.") // by the attempts before
	evaluate[any](c, `{ window.fetch = window.service }`)
	c.press("Send it again")
	c.await("Done once, by an earlier request")
	if made := c.payments(); len(made) != 1 {
		t.Errorf("there are %v", made)
	}
}

// loseAnswers has the page's charges arrive, and their answers not; and not before the
// promise window.lose.
func (c *tab) loseAnswers() {
	c.Helper()
	evaluate[any](c, `{
		Math.random = () => 0; // no waiting
		window.service = window.fetch;
		window.fetch = async (path, request) => {
			const answer = await service(path, request);
			if (request.method !== "POST") {
				return answer;
			}
			await window.lose;
			throw new TypeError("the answer was lost");
		};
	}`)
}

// Two senders of one intent would not know what the other one's answers leave open, and
// a page that was signed out is not to send at all: what it has would be another intent
// under the next key.
func TestAnIntentHasOneSenderAndNoneWithoutItsAPIKey(t *testing.T) {
	c := newTab(t)
	said := evaluate[[]string](c, `(async () => {
		const { end, keep, newIntent, newKey, send, unfinished } =
			await import("/console/assets/intent.js");
		let answer;
		window.fetch = () => new Promise((resolve) => { answer = resolve });
		const intent = newIntent(
			{ key: newKey(), what: "a test", path: "/payments", body: { amount: 1 } });
		const saying = (sending) => sending.then(({ came }) => came, ({ message }) => message);
		const first = saying(send(intent, { onAttempt() {} }));
		const second = await saying(send(intent, { onAttempt() {} }));
		end();
		answer(new Response("", { status: 503, headers: { "Retry-After": "0" } }));
		keep(intent);
		const ended = await first;
		const third = await saying(send(intent, { onAttempt() {} }));
		return [second, ended, third, unfinished().length + " kept"];
	})()`)
	want := []string{
		"It is being sent already.", "The API key was forgotten.",
		"The API key was forgotten.", "0 kept",
	}
	if !slices.Equal(said, want) {
		t.Errorf("they say %q, not %q", said, want)
	}
}

// A new key now would be a second charge, if the first one was done.
func TestWhileTheOutcomeIsUnknownThereIsNoNewKey(t *testing.T) {
	c := newTab(t)
	c.loseAnswers()
	c.typeCharge("49.99")
	c.press("Charge")
	c.await("The outcome is unknown.")
	if text := c.text(); strings.Contains(text, "Another one") {
		t.Errorf("the page offers a new key:\n%s", text)
	}
	if open := evaluate[int](c,
		`document.querySelectorAll("form fieldset:enabled").length`); open > 0 {
		t.Error("the form can be changed")
	}
	evaluate[any](c, `{ window.fetch = window.service }`)
	c.press("Send it again")
	c.await("Done once, by an earlier request")
	c.await("Another one, with a new key")
	if made := c.payments(); len(made) != 1 {
		t.Errorf("there are %v", made)
	}
}

func TestCorrectedRequestKeepsItsKey(t *testing.T) {
	c := newTab(t)
	key := c.key()
	c.typeCharge("49.99")
	c.fill("destination_account", "nobody")
	c.press("Charge")
	c.await("account_not_found")
	if c.key() != key {
		t.Error("what was refused got a new key")
	}
	c.fill("destination_account", journal.Shops[0])
	c.press("Charge")
	c.await("Done")
	if c.key() != key {
		t.Error("what was corrected got a new key")
	}
	c.press("Another one, with a new key")
	second := c.key()
	if second == key {
		t.Error("another charge has the first one's key")
	}
	c.fill("source_account", journal.Poor)
	c.press("Charge")
	c.await("insufficient_funds")
	c.await("Another attempt is another intent, and takes a new key.")
	c.press("Another one, with a new key")
	if third := c.key(); third == second {
		t.Error("what was declined keeps its key")
	}
	if made := c.payments(); len(made) != 2 || made[0].Status != "declined" ||
		made[1].Status != "succeeded" {
		t.Errorf("there are %v", made)
	}
}

func TestAPaymentCanBeHeldCapturedRefundedAndCanceled(t *testing.T) {
	c := newTab(t)
	c.press("Only hold it, to be captured later")
	held := c.charge("100")
	c.follow(held.ID, "Payment "+held.ID)
	c.fill("amount", "60")
	c.press("Capture")
	c.await("Done")
	c.await("Captured\n60.00 USD")
	c.follow("Payments", "Payments")
	c.follow(held.ID, "Payment "+held.ID)
	c.fill("amount", "60.01")
	c.press("Refund")
	c.await("amount_too_large")
	c.fill("amount", "10")
	c.press("Refund")
	c.await("Done: refund ref_")
	c.await("Refunded\n10.00 USD")
	want := payment{
		ID: held.ID, Status: "succeeded", Amount: 10000, AmountCaptured: 6000,
		AmountRefunded: 1000,
	}
	if made := c.payments(); len(made) != 1 || made[0] != want {
		t.Errorf("there are %v", made)
	}
	c.follow(journal.Shops[0], "Account "+journal.Shops[0])
	c.await("−10.00 USD")

	c.visit("/console")
	c.press("Only hold it, to be captured later")
	held = c.charge("100")
	c.follow(held.ID, "Payment "+held.ID)
	c.press("Cancel")
	c.await("Status\ncanceled")
}

func TestConcurrentEditIsNotLost(t *testing.T) {
	c := newTab(t)
	made := c.charge("1")
	c.follow(made.ID, "Payment "+made.ID)
	c.await("Change version 1")
	c.patch(made.ID, `"1"`, `{"description":"theirs"}`)
	c.fill("description", "mine")
	c.press("Change version 1")
	c.await("precondition_failed")
	c.press("Show it as it is now")
	c.await("Change version 2")
	c.fill("description", "both")
	c.press("Change version 2")
	c.await("Description\nboth")
	if now := c.payments()[0]; now.Description != "both" {
		t.Errorf("the description is %q", now.Description)
	}
}

func (c *tab) patch(id, version, body string) {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), http.MethodPatch, c.url+"/payments/"+id,
		strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header = http.Header{
		"Authorization": {"Bearer " + c.merchant.APIKey}, "Content-Type": {"application/json"},
		"If-Match": {version},
	}
	if answer := c.merchant.Send(r); answer.Status != http.StatusOK {
		c.Fatalf("patching: %v", answer)
	}
}

func TestAnAccountIsMadeClosedAndOpened(t *testing.T) {
	c := newTab(t)
	c.follow("Accounts", "Accounts")
	c.fill("id", "till")
	c.fill("currency", "KWD")
	c.fill("overdraft_limit", "1.5")
	c.press("Make it")
	c.await("till is made.")
	c.press("Make it")
	c.await("There is an account till: its own page changes it.")
	evaluate[any](c, `{
		window.service = window.fetch;
		window.fetch = async (path, request) => {
			if (request.method === "GET") {
				throw new TypeError("the line broke");
			}
			return service(path, request);
		};
	}`)
	c.press("Make it") // over what cannot be seen
	c.await("No answer from the service")
	evaluate[any](c, `{ window.fetch = window.service }`)
	c.put("till", `{"currency":"KWD","overdraft_limit":1500,"metadata":{"theirs":"stays"}}`)
	c.visit("/console#/accounts/till")
	c.awaitTitle("Account till")
	c.await("Change version 2")
	c.fill("name", "the till")
	c.press("Change version 2")
	c.await("It is changed.")
	c.follow("till", "Account till")
	c.await("Change version 3")
	c.await("theirs: stays")
	c.put("till", `{"currency":"KWD","name":"theirs"}`)
	c.press("Change version 3")
	c.await("precondition_failed")
	c.press("Show it as it is now")
	c.await("Change version 4")
	c.press("Close it")
	c.await("It is closed")
	c.follow("till", "Account till")
	c.press("Open it again")
	c.await("It is open.")
	c.follow("till", "Account till")
	c.await("Change version 6")
}

// put is somebody else's PUT.
func (c *tab) put(account, terms string) {
	c.Helper()
	answer := c.merchant.Do(c.Context(), http.MethodPut, c.url+"/accounts/"+account, "",
		[]byte(terms))
	if answer.Status != http.StatusOK && answer.Status != http.StatusCreated {
		c.Fatal(answer)
	}
}

// pay is somebody else's charge.
func (c *tab) pay(key string) {
	c.Helper()
	body := `{"amount":700,"currency":"USD","source_account":"world",
		"destination_account":"shop-0"}`
	if answer := c.merchant.Do(c.Context(), http.MethodPost, c.url+"/payments", key,
		[]byte(body)); answer.Status != http.StatusCreated {
		c.Fatal(answer)
	}
}

// rows waits until the page has so many events, and checks that each is there once.
func (c *tab) rows(n int) {
	c.Helper()
	await.Until(c, patience, fmt.Sprint("the page has ", n, " events"), func() bool {
		return evaluate[int](c, `document.querySelectorAll("main tbody tr").length`) >= n
	})
	c.want(`new Set(Array.from(document.querySelectorAll("main tbody tr"),
		(row) => row.querySelector("a").innerText)).size`, n)
}

func TestEventsAreLiveAndNoneIsMissingAfterALostConnection(t *testing.T) {
	c := newTab(t)
	c.pay("before")
	c.follow("Events", "Events")
	c.await("Live: new events appear at the top.")
	c.rows(1)
	c.pay("live")
	c.rows(2)
	c.want(`document.querySelector("main tbody tr a").innerText`, c.payments()[0].ID)

	evaluate[any](c, `{
		window.service = window.fetch;
		window.fetch = async () => { throw new TypeError("the line broke"); };
	}`)
	c.press("Pause")
	c.press("Go on")
	c.await("The connection is lost.")
	c.pay("meanwhile")
	c.pay("and again")
	evaluate[any](c, `{ window.fetch = window.service }`)
	c.await("Live: new events appear at the top.")
	c.rows(4)

	c.fill("type", "payment.declined")
	c.press("Find")
	c.await("Live: new events appear at the top.")
	c.want(`document.querySelectorAll("main tbody tr").length`, 0)
}

// What a caller stored is text to the console.
func TestAStoredScriptIsInert(t *testing.T) {
	c := newTab(t)
	attack := `<img src=x onerror="document.title='run'"><script>document.title='run'</script>`
	body := fmt.Sprintf(`{"amount":1,"currency":"USD",
		"source_account":"world","destination_account":"shop-0",
		"reference":%[1]q,"description":%[1]q,"metadata":{"<b>":%[1]q}}`, attack)
	if answer := c.merchant.Do(t.Context(), http.MethodPost, c.url+"/payments", "key",
		[]byte(body)); answer.Status != http.StatusCreated {
		t.Fatal(answer)
	}
	c.put("till", fmt.Sprintf(`{"currency":"USD","name":%[1]q,"metadata":{"<b>":%[1]q}}`, attack))
	id := c.payments()[0].ID
	for path, title := range map[string]string{
		"payments": "Payments", "payments/" + id: "Payment " + id, "accounts": "Accounts",
		"accounts/till":                      "Account till",
		"payments/" + url.PathEscape(attack): "This cannot be shown",
	} {
		c.visit("/console#/" + path)
		c.awaitTitle(title)
		if title != "This cannot be shown" && !strings.Contains(c.text(), attack) {
			t.Errorf("%s does not show the text:\n%s", path, c.text())
		}
		if evaluate[string](c, `document.title`) == "run" {
			t.Errorf("%s: it ran", path)
		}
		if made := evaluate[int](c,
			`document.querySelectorAll("main img, main script, main b").length`); made > 0 {
			t.Errorf("%s: it became %d elements", path, made)
		}
	}
}

func TestAnAmountIsReadExactlyOrNotAtAll(t *testing.T) {
	c := newTab(t)
	for _, each := range []struct {
		text, currency string
		want           string // minor units, or a part of what is said instead
	}{
		{"49.99", "USD", "exactly 4999."},
		{"49.9", "USD", "exactly 4990."},
		{"49", "USD", "exactly 4900."},
		{"0.29", "USD", "exactly 29."}, // 0.29 × 100 is 28.999… in floating point
		{" 0.07 ", "USD", "exactly 7."},
		{"500", "JPY", "exactly 500."},
		{"1.234", "KWD", "exactly 1234."},
		{"90071992547409.91", "USD", "exactly 9007199254740991."},
		{"0", "USD", "exactly 0."}, // the service says what it thinks of that
		{"90071992547409.92", "USD", "more than any amount may be"},
		{"49.999", "USD", "2 decimal digits"},
		{"1.0", "JPY", "0 decimal digits"},
		{"1,000", "USD", "not an amount"},
		{"1e3", "USD", "not an amount"},
		{"-1", "USD", "not an amount"},
		{".5", "USD", "not an amount"},
		{"", "USD", "not an amount"},
		{"1", "usd", "not a currency"},
		{"1", "", "not a currency"},
	} {
		got := evaluate[string](c, fmt.Sprintf(`
			import("/console/assets/money.js").then(({parseMoney}) => {
				try { return "exactly " + parseMoney(%q, %q) + "." }
				catch (mistake) { return mistake.message }
			})`, each.text, each.currency))
		if !strings.Contains(got, each.want) {
			t.Errorf("%q %s is %q, and not %q", each.text, each.currency, got, each.want)
		}
	}
}

func TestAnAmountIsShownExactly(t *testing.T) {
	c := newTab(t)
	for script, want := range map[string]string{
		`formatMoney(4999, "USD")`:       "49.99 USD",
		`formatMoney(-5, "USD")`:         "−0.05 USD",
		`formatMoney(0, "JPY")`:          "0 JPY",
		`formatMoney(1234567, "KWD")`:    "1\u202f234.567 KWD",
		`formatMoney(-123456789, "USD")`: "−1\u202f234\u202f567.89 USD",
		`formatMoney(Number.MAX_SAFE_INTEGER, "USD")`: "90\u202f071\u202f992\u202f547" +
			"\u202f409.91 USD",
	} {
		got := evaluate[string](c,
			`import("/console/assets/money.js").then(({formatMoney}) => `+script+`)`)
		if got != want {
			t.Errorf("%s is %q, not %q", script, got, want)
		}
	}
}

// sending is what became of an intent.
type sending struct {
	Came     string `json:"came"`
	Attempts int    `json:"attempts"`
	Requests int    `json:"requests"` // that differ
	KeptThen int    `json:"keptThen"` // as unfinished, when the first attempt was sent
	Kept     int    `json:"kept"`     // after the last
}

// scriptedService follows an intent whose nth attempt gets the nth of some answers, and
// returns a sending.
const scriptedService = `(async () => {
	const { forget, keep, newIntent, newKey, unfinished } =
		await import("/console/assets/intent.js");
	const { follow } = await import("/console/assets/report.js");
	const answers = [%s], sent = [], service = window.fetch;
	let keptThen = 0;
	Math.random = () => 0;
	window.fetch = async (path, request) => {
		keptThen ||= unfinished().length;
		sent.push(path + request.headers.get("Idempotency-Key") + request.body);
		const script = answers.filter((each) => each !== "reload");
		const answer = script[Math.min(sent.length, script.length) - 1];
		if (!answer) throw new TypeError("the line broke");
		const { status, code, retry } = answer;
		const body = answer.body ?? { status, code, retry };
		const headers = {
			"Content-Type": answer.type ?? "application/problem+json",
			"Retry-After": answer.after ?? "0",
		};
		return new Response(JSON.stringify(body), { status: answer.status, headers });
	};
	const intent = newIntent(
		{ key: newKey(), what: "a test", path: "/payments", body: { amount: 1 } });
	// A page that is reloaded while it sends leaves this.
	if (answers[0] === "reload") keep({ ...intent, sent: true });
	const report = document.createElement("div");
	document.body.append(report);
	let came = "unknown";
	await follow(intent, report, { settled(known) { came = known } });
	const kept = unfinished().length;
	forget(intent);
	window.fetch = service;
	return { came, attempts: sent.length, kept, keptThen, requests: new Set(sent).size };
})()`

// What the service, or somebody in between, may answer to the attempts of one intent,
// and what is then known.
func TestOnlyAFinalAnswerOfTheKeyIsAnOutcome(t *testing.T) {
	c := newTab(t)
	const (
		done = `{status: 201, type: "application/json",
			body: {id: "pay_1", status: "succeeded"}}`
		lost     = `null`
		html     = `{status: %d, type: "text/html", body: "no"}`
		badBody  = `{status: 422, code: "unprocessable", retry: "same_key"}`
		busy     = `{status: 503, code: "unavailable", retry: "same_key"}`
		tomorrow = `{status: 429, code: "rate_limited", retry: "same_key", after: "86400"}`
		progress = `{status: 409, code: "idempotency_key_in_progress", retry: "same_key"}`
		unclear  = `{status: 503, code: "outcome_unknown", retry: "same_key"}`
		internal = `{status: 500, code: "internal_error", retry: "same_key"}`
		declined = `{status: 402, code: "insufficient_funds", retry: "new_key"}`
		reused   = `{status: 422, code: "idempotency_key_reused", retry: "never"}`
		again    = `{status: 409, code: "duplicate_reference", retry: "never"}`

		beforeReload = `"reload"` // the page went before there was an answer
	)
	page := func(status int) string { return fmt.Sprintf(html, status) }
	for _, each := range []struct {
		answers  []string // the last one goes on
		came     string
		attempts int
	}{
		{[]string{done}, "done", 1},
		{[]string{lost, done}, "done", 2},
		{[]string{busy, busy, done}, "done", 3},
		{[]string{progress, done}, "done", 2},
		{[]string{unclear, done}, "done", 2},
		{[]string{page(502), done}, "done", 2},
		{[]string{badBody}, "refused", 1},
		{[]string{busy, badBody}, "refused", 2},
		{[]string{busy}, "refused", 6},
		{[]string{tomorrow}, "refused", 1},
		{[]string{lost, tomorrow}, "unknown", 2},
		{[]string{declined}, "declined", 1},
		{[]string{lost, declined}, "declined", 2},
		{[]string{reused}, "taken", 1},
		{[]string{lost, reused}, "taken", 2},
		{[]string{again}, "taken", 1},
		{[]string{lost}, "unknown", 6},
		{[]string{lost, badBody}, "unknown", 2}, // the lost one may be on its way still
		{[]string{lost, again}, "unknown", 2},
		{[]string{lost, busy}, "unknown", 6},
		{[]string{unclear, badBody}, "unknown", 2},
		{[]string{internal}, "unknown", 1},
		{[]string{page(200)}, "unknown", 1}, // somebody in between, who has not even asked
		{[]string{page(404)}, "unknown", 1},
		{[]string{`{status: 200, type: "text/html", body: {id: "pay_1"}}`}, "unknown", 1},
		{[]string{`{status: 200, type: "application/json", body: {id: "portal"}}`}, "unknown", 1},
		// a gateway's problem has no code
		{[]string{`{status: 408, body: {status: 408, title: "Request Timeout"}}`}, "unknown", 1},
		// and so may that one
		{[]string{beforeReload, badBody}, "unknown", 1},
		{[]string{beforeReload, done}, "done", 1},
	} {
		got := evaluate[sending](c, fmt.Sprintf(scriptedService, strings.Join(each.answers, ", ")))
		kept := 0
		if each.came == "unknown" {
			kept = 1
		}
		if got.Came != each.came || got.Attempts != each.attempts || got.Kept != kept ||
			got.KeptThen != 1 || got.Requests != 1 {
			t.Errorf("%v: %+v, and not %s after %d, with %d kept", each.answers, got, each.came,
				each.attempts, kept)
		}
	}
}

// What an old page still had to send would go out under the next merchant's key.
func TestForgottenKeyIsGone(t *testing.T) {
	c := newTab(t)
	evaluate[any](c, `window.old = true`)
	c.press("Forget the API key")
	c.awaitTitle("The console")
	if evaluate[any](c, `window.old ?? null`) != nil {
		t.Error("it is the same page, and goes on with what it was doing")
	}
	c.visit("/console#/payments")
	c.await("API key")
	stored := evaluate[[]string](c,
		`Object.values(sessionStorage).concat(Object.values(localStorage))`)
	if slices.Contains(stored, c.merchant.APIKey) {
		t.Error("the page still has the API key")
	}
}
