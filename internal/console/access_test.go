package console_test

import (
	"bytes"
	_ "embed"
	"fmt"
	"image/color"
	"image/png"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/paymentsvc/paymentsvc/lab/journal"
)

// axe finds what keeps people from using a page, such as poor contrasts and missing
// names. It is axe.min.js of the package axe-core 4.14.1, unchanged.
//
//go:embed testdata/axe-core/axe.min.js
var axe string

// inspect looks at the page in light and dark, on a desk and on a phone: axe finds
// nothing, the page is not wider than the screen, and the focus is in the page.
func (c *tab) inspect(name string) {
	c.Helper()
	if place := evaluate[string](c, `document.activeElement.tagName`); place == "BODY" {
		c.Errorf("%s: the focus has fallen to the body", name)
	}
	if !evaluate[bool](c, `"axe" in window`) {
		evaluate[any](c, axe+"; null")
	}
	for _, look := range []look{{"light", 1280}, {"dark", 1280}, {"light", 360}, {"dark", 360}} {
		c.wear(look)
		found := evaluate[[]string](c, `axe.run().then(({ violations }) => violations.flatMap(
			({ id, nodes }) => nodes.map((node) => id + ": " + node.html + node.failureSummary)))`)
		if page := evaluate[int64](c, `document.documentElement.scrollWidth`); page > look.width {
			found = append(found, fmt.Sprintf("the page is %d pixels wide", page))
		}
		if len(found) > 0 {
			c.Errorf("%s, %v:\n%s", name, look, strings.Join(found, "\n"))
		}
	}
}

// look is a reader's colour scheme and screen.
type look struct {
	scheme string
	width  int64
}

func (c *tab) wear(l look) {
	c.Helper()
	c.do(chromedp.EmulateViewport(l.width, 800))
	media := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}}
	if _, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: media}); err != nil {
		c.Fatal(err)
	}
}

// want checks the value of a script.
func (c *tab) want(script string, want any) {
	c.Helper()
	if got := fmt.Sprint(evaluate[any](c, script)); got != fmt.Sprint(want) {
		c.Errorf("%s is %s, want %v", script, got, want)
	}
}

const (
	focused = `document.activeElement.name ?? document.activeElement.className`
	current = `document.querySelector("main [aria-current=page]").innerText`
)

func TestConsoleIsAccessible(t *testing.T) {
	c := newTab(t)
	c.inspect("the form of a charge")
	c.want(current, "Charge")

	// Each error is shown once, at its field, and the field has the focus.
	c.typeCharge("x")
	c.press("Charge")
	c.await("not an amount")
	c.want(focused, "amount")
	c.fill("amount", "1")
	c.fill("source_account", "nobody")
	c.press("Charge")
	c.await("account_not_found")
	c.want(focused, "source_account")
	described := `document.getElementById(document.activeElement.getAttribute("aria-describedby"))`
	c.want(`document.querySelectorAll("main .error").length + `+described+`.className`, "1error")
	detail := evaluate[string](c, described+`.innerText`)
	if text := c.text(); strings.Count(text, detail) != 1 {
		t.Errorf("%q is repeated:\n%s", detail, text)
	}
	c.inspect("a refused charge")

	// What may charge for the first time says so.
	c.loseAnswers()
	c.typeCharge("49.99")
	c.press("Charge")
	c.await("If it was not, it is done then.")
	c.want(focused, "report")
	c.inspect("an unknown outcome")
	evaluate[any](c, `{ window.fetch = window.service }`)
	c.follow("Accounts", "Accounts")
	c.await("Forget it")
	c.inspect("an unfinished charge")
	c.press("Send it again")
	c.await("Done")
	c.want(focused, "report")
	c.press("Replay it, with the same key")
	c.await("the same as the first answer’s")
	c.inspect("a charge")

	body := `{"amount":500,"currency":"USD","source_account":"world","capture":false,
		"destination_account":"shop-0","metadata":{"table":"7"}}`
	if answer := c.merchant.Do(t.Context(), http.MethodPost, c.url+"/payments", `ke"y`,
		[]byte(body)); answer.Status != http.StatusCreated {
		t.Fatal(answer)
	}
	c.follow("Payments", "Payments")
	c.inspect("the list of payments")
	c.want(`Array.from(document.querySelector("tbody tr").querySelectorAll(".status, .money"))
		.filter((cell) => cell.getBoundingClientRect().right <= innerWidth).length`, 2)
	c.want(current, "Payments")
	c.fill("account", "none!")
	c.press("Find")
	c.await("account is not the id of any account")
	c.inspect("a refused filter")
	c.fill("account", journal.Shops[0]) // the form is still there
	c.press("Find")
	c.await("49.99 USD")
	held, paid := c.payments()[0].ID, c.payments()[1].ID
	c.follow(held, "Payment "+held)
	for _, fact := range []string{"Idempotency-Key\nke\"y", "table: 7", "Held until\n"} {
		c.await(fact)
	}
	c.inspect("an authorized payment")
	c.cancelOrRefund("Cancel", held)
	c.await("Canceled because\nrequested")
	c.inspect("a canceled payment")
	c.visit("/console#/payments/" + paid)
	c.awaitTitle("Payment " + paid)
	c.cancelOrRefund("Refund", paid)
	c.await("Refunded\n49.99 USD")
	c.inspect("a refunded payment")
	c.fill("description", "mine")
	c.press("Change version 2")
	c.await("Description\nmine")
	c.inspect("an edited payment")

	c.follow("Events", "Events")
	c.await("refund.succeeded")
	c.await("Live: new events appear at the top.")
	c.want(current, "Events")
	c.inspect("the events")
	c.press("Pause")
	c.await("Paused.")
	c.inspect("paused events")
	c.fill("payment_id", "none")
	c.press("Find")
	c.await("payment_id is not the id of any payment")
	c.inspect("a refused filter of events")

	c.follow("Accounts", "Accounts")
	c.inspect("the list of accounts")
	c.follow(journal.Shops[0], "Account "+journal.Shops[0])
	c.inspect("an account")
	c.webhooks()
	c.visit("/console#/payments/none")
	c.awaitTitle("This cannot be shown")
	c.inspect("a missing payment")
	c.press("Forget the API key")
	c.awaitTitle("The console")
	c.inspect("the form of the API key")
	for path, marked := range map[string]string{
		"/": "", "/docs/errors": "Problems", "/docs/errors/outcome_unknown": "Problems",
	} {
		c.visit(path)
		c.want(`document.querySelector("[aria-current=page]")?.innerText ?? ""`, marked)
		evaluate[any](c, `document.querySelector("a").focus()`)
		c.inspect(path)
	}
}

// cancelOrRefund presses a button that asks first, and does not look like the main one.
func (c *tab) cancelOrRefund(text, id string) {
	c.Helper()
	evaluate[any](c, `{
		window.really = window.confirm;
		window.confirm = (question) => { window.asked = question; return false; };
	}`)
	c.want(`new Set(Array.from(document.querySelectorAll("main [type=submit]"),
		(button) => getComputedStyle(button).backgroundColor)).size`, 2)
	c.press(text)
	c.await("Nothing was sent.")
	if asked := evaluate[string](c, `window.asked`); !strings.Contains(asked, id+"?") {
		c.Errorf("the question is %q", asked)
	}
	evaluate[any](c, `{ window.confirm = window.really }`)
	c.press(text)
}

// The viewer of the contract is a library, which has only a light scheme and wide pages.
func TestContractHasADarkSchemeAndFitsAPhone(t *testing.T) {
	c := newTab(t)
	c.visit("/docs")
	c.await("Idempotency-Key")
	for scheme, dark := range map[string]bool{"light": false, "dark": true} {
		c.wear(look{scheme, 360})
		c.want(`document.documentElement.scrollWidth`, 360)
		picture, err := chromedp.Run(c.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if light := brightness(t, picture); (light < 0.4) != dark {
			t.Errorf("with the %s scheme, the brightness is %.2f", scheme, light)
		}
	}
}

// brightness is the mean of a picture's pixels, from 0 (black) to 1 (white).
func brightness(t *testing.T, file []byte) float64 {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	sum, size := 0.0, picture.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			sum += float64(color.Gray16Model.Convert(picture.At(x, y)).(color.Gray16).Y)
		}
	}
	return sum / float64(size.X*size.Y) / math.MaxUint16
}
