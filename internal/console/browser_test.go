package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// patience is for a page to show something, on a machine that may be busy with others.
const patience = 20 * time.Second

func TestMain(m *testing.M) { pgtest.Main(withBrowser{m}) }

// withBrowser ends the browser after the tests, if one of them has started it.
type withBrowser struct{ tests *testing.M }

func (w withBrowser) Run() int {
	defer browser.end()
	return w.tests.Run()
}

// browser is one for all tests: each has a tab and a storage of its own in it.
var browser sharedBrowser

type sharedBrowser struct {
	once sync.Once
	ctx  context.Context
	stop context.CancelFunc // of what started it
	err  error
}

func (b *sharedBrowser) start(t *testing.T) context.Context {
	t.Helper()
	b.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
		if os.Geteuid() == 0 {
			// Chromium has none for root, and does not start without being told
			options = append(options, chromedp.NoSandbox)
		}
		var allocator context.Context
		allocator, b.stop = chromedp.NewExecAllocator(context.Background(), options...)
		b.ctx, _ = chromedp.NewContext(allocator)
		b.err = chromedp.Do(b.ctx)
	})
	if b.err != nil {
		t.Fatalf("starting a browser: %v\nInstall Chromium or Chrome (on Debian as root: "+
			"apt-get install chromium).", b.err)
	}
	return b.ctx
}

func (b *sharedBrowser) end() {
	if b.ctx != nil {
		_ = chromedp.Cancel(b.ctx) // asks it to close, and waits for it
		b.stop()
	}
}

// tab is somebody at the console. An exception that nobody caught, or something that
// the security policy refused, fails the test.
type tab struct {
	*testing.T
	ctx      context.Context
	url      string // of the service
	merchant *journal.Merchant

	// of a service that charges cards
	db        *pgtest.DB
	processor *simulator.Server
}

// open opens the console of a service, and enters the merchant's API key.
func open(t *testing.T, url string, merchant *journal.Merchant) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser.start(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	c := &tab{T: t, ctx: ctx, url: url, merchant: merchant}
	err := chromedp.Listen(ctx, func(event any) {
		switch event := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page failed: %v", event.ExceptionDetails)
		case *log.EventEntryAdded:
			if event.Entry.Source == log.EntrySourceSecurity ||
				event.Entry.Source == log.EntrySourceViolation {
				t.Errorf("the browser refused: %s", event.Entry.Text)
			}
		case *page.EventJavascriptDialogOpening:
			go func() { // this function must not wait
				_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog,
					page.HandleJavaScriptDialogParams{Accept: true})
			}()
		}
	})
	if err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page shows:\n%s", c.text())
		}
	})
	c.visit("/console")
	c.fill("api_key", merchant.APIKey)
	c.press("Open")
	c.await("Forget the API key")
	return c
}

// newTab opens the console of an instance of its own, with a database of its own.
func newTab(t *testing.T) *tab {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	in := inprocess.Start(t, db.URL)
	return open(t, in.URL(), journal.NewMerchant(t, in, db.URL))
}

func (c *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		c.Fatal(err)
	}
}

func (c *tab) visit(path string) {
	c.Helper()
	c.do(chromedp.Navigate(c.url + path))
}

// fill sets a field by its name.
func (c *tab) fill(name, value string) {
	c.Helper()
	field := chromedp.CSS(fmt.Sprintf("main [name=%q]:enabled", name))
	c.do(chromedp.WaitEnabled(field), chromedp.SetValue(field, value))
}

// press clicks the first button or box of this text.
func (c *tab) press(text string) {
	c.Helper()
	c.do(chromedp.Click(fmt.Sprintf("//main//*[self::button or self::label][normalize-space()=%q]",
		text)))
}

// follow clicks the first link of this text, which leads to the page of that title.
func (c *tab) follow(text, title string) {
	c.Helper()
	c.do(chromedp.Click(fmt.Sprintf("//main//a[normalize-space()=%q]", text)))
	c.awaitTitle(title)
}

// await waits until the page shows a text.
func (c *tab) await(text string) {
	c.Helper()
	await.Until(c, patience, fmt.Sprintf("the page shows %q", text), func() bool {
		return strings.Contains(c.text(), text)
	})
}

// awaitTitle waits until the page is the one of that title.
func (c *tab) awaitTitle(title string) {
	c.Helper()
	await.Until(c, patience, "the page "+title, func() bool { return c.title() == title })
}

func (c *tab) title() string {
	return evaluate[string](c, `document.querySelector("main h1")?.innerText ?? ""`)
}

// text is what the page shows.
func (c *tab) text() string {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	// "" while it changes
	text, _ := chromedp.Run(ctx,
		chromedp.Evaluate[string](`document.querySelector("main")?.innerText ?? ""`))
	return text
}

// evaluate is a script's value, which may be promised.
func evaluate[T any](c *tab, script string) T {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		c.Fatalf("%s: %v", script, err)
	}
	return value
}

// key is the one that the form shows.
func (c *tab) key() string {
	c.Helper()
	return evaluate[string](c, `document.querySelector("form code").innerText`)
}

// payment is what the API tells of a merchant's payments.
type payment struct {
	ID             string `json:"id"`
	Status         string `json:"status"`
	Amount         int64  `json:"amount"`
	AmountCaptured int64  `json:"amount_captured"`
	AmountRefunded int64  `json:"amount_refunded"`
	Description    string `json:"description"`
}

// payments asks the API, newest first, and not the page.
func (c *tab) payments() []payment {
	c.Helper()
	answer := c.merchant.Do(c.Context(), "GET", c.url+"/payments", "", nil)
	var list struct {
		Data []payment `json:"data"`
	}
	if err := json.Unmarshal(answer.Body, &list); answer.Status != 200 || err != nil {
		c.Fatalf("listing payments: %v (%v)", answer, err)
	}
	return list.Data
}
