package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
)

// messageRoute stands for requests by message in logs, metrics and traces.
const messageRoute = "payments.requests.*"

// ByMessage returns a function that answers a request that came by message and not by
// HTTP: the request of POST /payments, with its header and body, of the merchant with
// that id. The answer is the one that the same request would get by HTTP: the same
// operation under the same key, the same problems, the same bytes.
//
// The message broker has authenticated the request. There is no rate limit: requests
// that the service has not taken wait in the broker. A request that is at the card
// processor waits there too, and not here: an instance works on few messages at once, and
// calls that hang would hold up those of all merchants.
func ByMessage(config Config) func(
	ctx context.Context, merchant string, header http.Header, body []byte,
) (status int, answered http.Header, answer []byte) {
	a := &api{Config: config}
	charge := a.identify(a.observe(a.recoverPanic(a.echoKey(a.ofMerchant(a.postPayment)))))
	return func(
		ctx context.Context, merchant string, header http.Header, body []byte,
	) (int, http.Header, []byte) {
		route := chi.NewRouteContext()
		route.RoutePatterns = []string{messageRoute}
		ctx = context.WithValue(ctx, chi.RouteCtxKey, route)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/payments",
			bytes.NewReader(body))
		if err != nil {
			panic(err) // the method and the path are constants
		}
		r.Header = header
		r.SetPathValue(merchantValue, merchant)
		answer := &recorder{header: http.Header{}}
		charge.ServeHTTP(answer, r)
		return answer.status, answer.header, answer.body
	}
}

// merchantValue is the request's path value with the id of its merchant.
const merchantValue = "merchant"

// ofMerchant gives a request to the merchant that its path value names, if there is
// one.
func (a *api) ofMerchant(next func(http.ResponseWriter, *http.Request) error) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		text := r.PathValue(merchantValue)
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strconv.FormatInt(id, 10) != text {
			return merchants.ErrNoMerchant
		}
		if err := a.Authenticator.Find(r.Context(), id); err != nil {
			return err
		}
		requestOf(r).identity = merchants.Identity{MerchantID: id}
		return next(w, r)
	})
}

// recorder is the http.ResponseWriter of a request that has no connection.
type recorder struct {
	status int
	header http.Header
	body   []byte
}

func (a *recorder) Header() http.Header { return a.header }

func (a *recorder) WriteHeader(status int) { a.status = status }

func (a *recorder) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}
