package cards

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// gate stands before the processor. It writes down what it is asked for, and can hold
// requests and answers. A request that has come this far reaches the processor, whether
// its client still waits or not.
type gate struct {
	*httptest.Server
	look func(step, key string) // at each request, before the processor has it

	mu    sync.Mutex
	calls []call
	holds map[string]*hold // by point: "confirm asked", "confirm answered"
}

// call is one request.
type call struct{ step, key string }

// hold stops everything that comes to a point.
type hold struct {
	reached chan struct{} // closed by the first that comes
	open    chan struct{} // closed by release
	once    sync.Once
}

func newGate(t *testing.T, processor *simulator.Server) *gate {
	t.Helper()
	target, err := url.Parse(processor.URL())
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{holds: map[string]*hold{}}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			g.pass(t, stepOf(r.Request)+" answered")
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler) // as the processor has reset the connection
		},
	}
	g.Server = httptest.NewServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			step, key := stepOf(r), r.Header.Get("Idempotency-Key")
			g.mu.Lock()
			g.calls = append(g.calls, call{step, key})
			g.mu.Unlock()
			if g.look != nil {
				g.look(step, key)
			}
			g.pass(t, step+" asked")
			proxy.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
		}))
	t.Cleanup(func() {
		g.Close()
		transport.CloseIdleConnections()
	})
	return g
}

// stepOf is the simulator's name of what a request asks for.
func stepOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // v1, payment_intents, …
	refunds := parts[1] == "refunds"
	switch {
	case len(parts) == 4:
		return parts[3]
	case r.Method == http.MethodPost && refunds:
		return string(simulator.StepRefund)
	case r.Method == http.MethodPost:
		return string(simulator.StepCreate)
	case refunds:
		return string(simulator.StepList)
	}
	return string(simulator.StepRetrieve)
}

// hold stops what comes to the point. reached is closed when something has.
func (g *gate) hold(point string) (reached <-chan struct{}, release func()) {
	h := &hold{reached: make(chan struct{}), open: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds[point] = h
	return h.reached, sync.OnceFunc(func() { close(h.open) })
}

func (g *gate) pass(t *testing.T, point string) {
	g.mu.Lock()
	h := g.holds[point]
	g.mu.Unlock()
	if h == nil {
		return
	}
	h.once.Do(func() { close(h.reached) })
	select {
	case <-h.open:
	case <-t.Context().Done():
	}
}

// steps are what was asked for, in order.
func (g *gate) steps() (steps []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.calls {
		steps = append(steps, c.step)
	}
	return steps
}

// keys are the different keys under which a step was asked for, in order.
func (g *gate) keys(step string) (keys []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.calls {
		if c.step == step && !slices.Contains(keys, c.key) {
			keys = append(keys, c.key)
		}
	}
	return keys
}
