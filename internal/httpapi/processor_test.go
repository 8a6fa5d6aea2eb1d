package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// The secrets of the processor's events. The second one is being replaced.
const (
	eventSecret    = "whsec_new"
	eventSecretOld = "whsec_old"
)

// processor is a simulated one behind a gate, which can hold requests.
type processor struct {
	*simulator.Server
	t    *testing.T
	gate *gate
}

// newProcessor starts a processor. Its own events are not sent: tests send them.
func newProcessor(t *testing.T) *processor {
	t.Helper()
	s, err := simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"), WebhookSecret: eventSecret,
		Delays: simulator.Delays{Slow: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &processor{Server: s, t: t, gate: newGate(t, s.URL())}
}

// onCards is a merchant of two instances that charge cards at the processor.
func onCards(t *testing.T, changes ...func(*settings)) (*merchant, *processor) {
	t.Helper()
	t.Parallel()
	p := newProcessor(t)
	s := settings{processor: p.settings()}
	for _, change := range changes {
		change(&s)
	}
	db := pgtest.New(t)
	return newMerchant(t, db, newInstanceWith(t, db.URL, s), newInstanceWith(t, db.URL, s)), p
}

// settings are those of an instance.
func (p *processor) settings() cards.Settings {
	return cards.Settings{
		SecretKey: simulator.DefaultSecret, URL: p.gate.URL, Timeout: patience,
		WebhookSecrets: []string{eventSecret, eventSecretOld}, ResendWindow: time.Hour,
	}
}

// gate is before the processor. It holds the requests whose path ends in a text, before
// they arrive.
type gate struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	suffix  string // "": none is held
	held    int
	release chan struct{}
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // the processor, or its client, has hung up
		},
	}
	g.Server = httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if opened := g.arrive(r.URL.Path); opened != nil {
				<-opened
			}
			proxy.ServeHTTP(w, r)
		}))
	t.Cleanup(func() {
		g.open()
		g.Close()
	})
	return g
}

func (g *gate) arrive(path string) (opened chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.suffix == "" || !strings.HasSuffix(path, g.suffix) {
		return nil
	}
	g.held++
	return g.release
}

// shut holds the requests whose path ends so, and lets all others through.
func (g *gate) shut(suffix string) {
	g.open()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suffix, g.held, g.release = suffix, 0, make(chan struct{})
}

// open lets all requests through.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.suffix != "" {
		g.suffix = ""
		close(g.release)
	}
}

// awaitHeld waits until a request is held.
func (g *gate) awaitHeld() {
	g.t.Helper()
	await.Until(g.t, patience, "a request is at the processor's gate", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.held > 0
	})
}

// call makes a request of the processor's API, past the gate. The answer is JSON.
func (p *processor) call(method, path string, form url.Values) map[string]any {
	p.t.Helper()
	return p.send(method, path, "application/x-www-form-urlencoded", form.Encode())
}

// press does something at the processor's dashboard.
func (p *processor) press(page string, entered body) map[string]any {
	p.t.Helper()
	return p.send("POST", "/dashboard/"+page, "application/json", entered.String())
}

func (p *processor) send(method, path, mediaType, content string) (object map[string]any) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, p.URL()+path,
		strings.NewReader(content))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.DefaultSecret)
	request.Header.Set("Content-Type", mediaType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %s: %v, %d %s", method, path, err, response.StatusCode, answer)
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		p.t.Fatal(err)
	}
	return object
}

// onlyIntent is the one intent in the processor's books.
func (p *processor) onlyIntent() simulator.BookIntent {
	p.t.Helper()
	books, err := p.Books()
	if err != nil || len(books.Intents) != 1 {
		p.t.Fatalf("the processor has %+v, %v; want one intent", books, err)
	}
	return books.Intents[0]
}

// wantTaken checks how often the processor has taken money, of all cards.
func (p *processor) wantTaken(want int) {
	p.t.Helper()
	books, err := p.Books()
	if err != nil {
		p.t.Fatal(err)
	}
	var got int
	for _, intent := range books.Intents {
		got += intent.TimesTaken
	}
	if got != want {
		p.t.Errorf("the processor took money %d times, want %d", got, want)
	}
}

// cardToShop is a charge by card.
func cardToShop(cents int64, paymentMethod string) body {
	return aliceToShop(cents).without("source_account").with("payment_method", paymentMethod)
}

// noWait sends a keyed request that does not wait for the processor.
func (m *merchant) noWait(in *instance, key, path string, b body) *answer {
	m.t.Helper()
	text := ""
	if b != nil {
		text = b.String()
	}
	return m.send(in, call{
		method: "POST", path: path, body: text,
		header: http.Header{"Idempotency-Key": {key}, "Prefer": {"wait=0"}},
	})
}

// recover does the work of the background workers for cards, on both instances.
func (m *merchant) recover() {
	m.t.Helper()
	for _, in := range []*instance{m.first, m.other} {
		if err := in.Cards.Recover(m.t.Context()); err != nil {
			m.t.Fatal(err)
		}
	}
}

// awaitStatus waits until a payment has a status.
func (m *merchant) awaitStatus(path, status string) {
	m.t.Helper()
	await.Until(m.t, patience, path+" is "+status, func() bool {
		m.recover()
		return m.get(path).want(200).payment().Status == status
	})
}
