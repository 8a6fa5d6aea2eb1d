package cards

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// proxy stands between the instances and the processor. An exchange passes it unchanged,
// unless a rule takes it.
type proxy struct {
	t        testing.TB
	target   string // the processor
	client   *http.Client
	underWay atomic.Int64 // exchanges

	mu   sync.Mutex
	rule rule // nil: none
}

// rule takes an exchange, or returns nil. It is called with the proxy's lock.
type rule func(*exchange) (take func(*exchange))

// exchange is one call of an instance to the processor.
type exchange struct {
	member *member
	step   simulator.Step
	intent string // its id, if the path has one

	proxy *proxy
	w     http.ResponseWriter
	r     *http.Request
	body  []byte
}

// reply is the processor's answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &proxy{t: t, target: target, client: &http.Client{Transport: transport}}
}

// listen returns the address of the processor for one instance. Each process has its own,
// so that a call of a dead process is not taken for one of its successor.
func (p *proxy) listen(m *member) (url string) {
	p.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.underWay.Add(1)
		defer p.underWay.Add(-1)
		<-m.started
		x := &exchange{member: m, proxy: p, w: w, r: r}
		x.step, x.intent = stepOf(r)
		var err error
		if x.body, err = io.ReadAll(r.Body); err != nil {
			return
		}
		p.take(x)(x)
	}))
	p.t.Cleanup(server.Close)
	return server.URL
}

// on sets the rule; nil ends it.
func (p *proxy) on(r rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = r
}

func (p *proxy) take(x *exchange) func(*exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rule != nil {
		if take := p.rule(x); take != nil {
			return take
		}
	}
	return (*exchange).pass
}

// stepOf reads a call's step and intent from its path.
func stepOf(r *http.Request) (step simulator.Step, intent string) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if len(parts) > 1 {
		intent = parts[1]
	}
	switch {
	case r.Method == http.MethodGet && len(parts) == 1:
		return simulator.StepList, ""
	case r.Method == http.MethodGet:
		return simulator.StepRetrieve, intent
	case parts[0] == "refunds":
		return simulator.StepRefund, ""
	case len(parts) == 1:
		return simulator.StepCreate, ""
	}
	return simulator.Step(parts[2]), intent
}

// pass is what happens without a rule. A client that goes away is gone for the processor.
func (x *exchange) pass() { x.answer(x.forward(x.r.Context(), func() {})) }

// forward sends the call to the processor. It returns nil if there is no answer. sent is
// called when the processor has the whole request.
func (x *exchange) forward(ctx context.Context, sent func()) *reply {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { sent() },
	})
	r, err := http.NewRequestWithContext(ctx, x.r.Method, x.proxy.target+x.r.URL.RequestURI(),
		bytes.NewReader(x.body))
	if err != nil {
		x.proxy.t.Error(err)
		return nil
	}
	r.Header, r.GetBody = x.r.Header.Clone(), nil // net/http would send it again
	response, err := x.proxy.client.Do(r)
	if err != nil {
		sent()
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil
	}
	return &reply{response.StatusCode, response.Header, body}
}

// answer passes the processor's answer on. Without one, the connection ends.
func (x *exchange) answer(a *reply) {
	if a == nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(x.w.Header(), a.header)
	x.w.WriteHeader(a.status)
	_, _ = x.w.Write(a.body)
	_ = http.NewResponseController(x.w).Flush()
}
