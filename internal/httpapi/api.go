// Package httpapi is the door through which callers come: it reads requests, calls the
// services, and writes answers.
//
// A handler decodes, calls and writes; it returns an error instead of writing one.
// There is one place where an error becomes a problem document (problem.go), and one
// where an outcome becomes the answer that is stored and replayed (answer.go). What a
// caller sees is described in api/openapi.yaml.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// Config of the API. Every field is required, but for RateLimit and those of the last
// group.
type Config struct {
	Payments       *payments.Service
	Accounts       *ledger.Accounts
	Authenticator  *merchants.Authenticator
	Ready          func() error  // nil while the instance can charge
	RateLimit      RateLimit     // of each merchant; zero: none
	RequestTimeout time.Duration // after which a caller is told that the outcome is not known yet
	Logger         *slog.Logger

	// Answered is told of every request when it has been answered.
	Answered func(*Exchange)
	// Trace is called when a request has come. The context that it returns takes the
	// place of the request's own, and the function is called when it has been answered.
	Trace func(*http.Request) (context.Context, func(*Exchange))
}

type api struct{ Config }

// New returns the handler of every public path.
func New(config Config) http.Handler {
	a := &api{config}
	r := chi.NewRouter()
	r.Use(a.identify, a.observe, a.recoverPanic, a.echoKey, a.admit, middleware.GetHead)
	r.NotFound(a.handle(func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	r.MethodNotAllowed(a.methodNotAllowed(r))
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "ok\n")
	})
	r.Get("/readyz", a.readyz)
	a.routeDocs(r)
	a.routeConsole(r)
	r.Group(func(r chi.Router) {
		r.Use(a.refuseCrossOrigin, a.authenticate)
		if a.RateLimit != (RateLimit{}) {
			r.Use(newRateLimiter(a.RateLimit).limit(a))
		}
		r.Get("/accounts", a.handle(a.listAccounts))
		r.Get("/accounts/{id}", a.handle(a.getAccount))
		r.Get("/accounts/{id}/entries", a.handle(a.listEntries))
		r.Get("/payments", a.handle(a.listPayments))
		r.Get("/payments/{id}/refunds", a.handle(a.listRefunds))
		r.Group(func(r chi.Router) {
			r.Use(a.refuseQuery) // those above read theirs
			r.Put("/accounts/{id}", a.handle(a.putAccount))
			r.Delete("/accounts/{id}", a.handle(a.deleteAccount))
			r.Post("/payments", a.handle(a.postPayment))
			r.Get("/payments/{id}", a.handle(a.getPayment))
			r.Patch("/payments/{id}", a.handle(a.patchPayment))
			r.Post("/payments/{id}/capture", a.handle(a.postCapture))
			r.Post("/payments/{id}/cancel", a.handle(a.postCancel))
			r.Post("/payments/{id}/refunds", a.handle(a.postRefund))
			r.Get("/payments/{id}/refunds/{refund_id}", a.handle(a.getRefund))
		})
	})
	return r
}

// handler is a request handler that leaves errors to one place.
type handler func(http.ResponseWriter, *http.Request) error

func (a *api) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.writeProblem(w, r, err)
		}
	}
}

// request is what the service knows about a request beside the request itself. One is
// made per request and filled by the middleware, in one allocation and one context
// value.
type request struct {
	id       uuid.UUID
	identity merchants.Identity
	code     string // of the problem that it was answered with; "" for none
	replayed bool   // its answer was made for another request
	err      error  // what the service is at fault for
	stack    string // where it panicked
}

type requestKey struct{}

func requestOf(r *http.Request) *request { return r.Context().Value(requestKey{}).(*request) }

// identify gives the request its id, which every answer carries, and its time limit.
func (a *api) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{id: uuid.Must(uuid.NewV7())}
		w.Header().Set("Request-Id", payments.FormatRequestID(req.id))
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, req),
			a.RequestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// echoKey returns the Idempotency-Key as it was received, on every answer to a keyed
// request.
func (a *api) echoKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if keys := r.Header["Idempotency-Key"]; len(keys) == 1 {
			w.Header()["Idempotency-Key"] = keys
		}
		next.ServeHTTP(w, r)
	})
}

// refuseCrossOrigin lets a page of another origin read, and nothing more. Such a page
// has no API key, since no cookie carries one; but the console is served from this
// origin, and whatever a browser may one day hold for it must be of no use to other
// pages. Callers that are not browsers send neither Sec-Fetch-Site nor Origin, and
// pass.
func (a *api) refuseCrossOrigin(next http.Handler) http.Handler {
	var protection http.CrossOriginProtection // without exceptions
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		if protection.Check(r) != nil {
			return errCrossOrigin
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// authenticate finds out whose request it is, before anything of it but its origin is
// looked at: also before a stored answer is replayed.
func (a *api) authenticate(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		token, ok := bearerToken(r.Header["Authorization"])
		if !ok {
			return merchants.ErrUnauthorized
		}
		identity, err := a.Authenticator.Authenticate(r.Context(), token)
		if err != nil {
			return err
		}
		if identity.ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead {
			return errReadOnlyKey
		}
		requestOf(r).identity = identity
		next.ServeHTTP(w, r)
		return nil
	})
}

// bearerToken reads the one Authorization header (RFC 6750, section 2.1; the scheme's
// case does not matter).
func bearerToken(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return token, ok && strings.EqualFold(scheme, "bearer")
}

// pathID is the id of what a request's path names first.
func pathID(r *http.Request) string { return pathParameter(r, "id") }

// pathParameter is a part of a request's path. chi leaves it escaped if anything in the
// path is.
func pathParameter(r *http.Request, name string) string {
	id := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return id
	}
	unescaped, err := url.PathUnescape(id)
	if err != nil {
		return id // net/http has refused paths that cannot be unescaped
	}
	return unescaped
}

// methods are those that a route may have.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost,
	http.MethodPatch, http.MethodDelete}

// methodNotAllowed answers 405 with the methods that the path does have, whatever its
// id.
func (a *api) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		path := r.URL.RawPath // what chi routes by: a slash that is escaped separates nothing
		if path == "" {
			path = r.URL.Path
		}
		var allowed []string
		for _, method := range methods {
			if method == http.MethodHead && len(allowed) > 0 ||
				routes.Match(chi.NewRouteContext(), method, path) {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return errNotFound // a method that nothing has, on a path that is not there
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return errMethodNotAllowed
	})
}

// recoverPanic turns a panic into a 500. What was locked or opened on the way is given
// back by the owners' own defers.
func (a *api) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch value := recover(); value {
			case nil:
			case http.ErrAbortHandler: // net/http's own way to cut an answer short
				panic(value)
			default:
				a.writeProblem(w, r, panicError{value})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// readyz tells whether this instance can charge right now. It asks nobody: the answer
// is kept up to date in the background.
func (a *api) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.Ready(); err != nil {
		writeNotReady(w)
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

func writeNotReady(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeText(w, http.StatusServiceUnavailable, "not ready\n")
}
