package stripe_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// environmentProxy is in the environment before anything reads it: net/http reads it once.
var environmentProxy *net.TCPListener

func TestMain(m *testing.M) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	environmentProxy = listener.(*net.TCPListener)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(name, "http://"+listener.Addr().String()); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

const secretKey = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"

var owner = stripe.Owner{
	Installation: uuid.MustParse("0190b0a0-0000-7000-8000-000000000001"),
	MerchantID:   7,
	AttemptID:    uuid.MustParse("0190b0a0-0000-8000-8000-000000000002"),
}

var usd = ledger.Money{Minor: 4999, Currency: "USD"}

// intentText is an intent of owner over 49.99 USD, as Stripe would send it.
const intentText = `{"id":"pi_1","object":"payment_intent","amount":4999,
	"amount_capturable":0,"amount_received":4999,"capture_method":"automatic",
	"created":1764547200,"currency":"usd","last_payment_error":null,"latest_charge":"ch_1",
	"metadata":{"paymentsvc_installation":"0190b0a0-0000-7000-8000-000000000001",
	"paymentsvc_merchant":"7","paymentsvc_attempt":"0190b0a0-0000-8000-8000-000000000002"},
	"status":"succeeded"}`

const refundText = `{"id":"re_1","object":"refund","amount":4999,"created":1764547200,
	"currency":"usd","payment_intent":"pi_1",
	"metadata":{"paymentsvc_installation":"0190b0a0-0000-7000-8000-000000000001",
	"paymentsvc_merchant":"7","paymentsvc_attempt":"0190b0a0-0000-8000-8000-000000000002"},
	"status":"succeeded"}`

// change is a text with the first half of each pair replaced by the second.
func change(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %s", text, pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// request is one that the processor got.
type request struct {
	method, path string
	header       http.Header
	form         url.Values // of the body, or of the query
}

// processor answers each request by canned bytes, and writes it down.
type processor struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

func newProcessor(t *testing.T, answer http.HandlerFunc) *processor {
	t.Helper()
	t.Parallel()
	p := &processor{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body) + r.URL.RawQuery)
		if err != nil {
			t.Errorf("the form cannot be read: %v", err)
		}
		p.mu.Lock()
		p.requests = append(p.requests, request{r.Method, r.URL.Path, r.Header, form})
		p.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *processor) got() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// answering is a handler with one answer.
func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (p *processor) client() *stripe.Client { return newClient(p.URL) }

func newClient(address string) *stripe.Client {
	return stripe.New(stripe.Config{
		SecretKey: secretKey, BaseURL: address, Timeout: 10 * time.Second,
		WebhookSecrets: []string{"whsec_new", "whsec_old"},
	})
}

func loggerTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
