// Package contract compares what callers ask and hear with the published contract.
//
// [Contract.Comparing] wraps the handler of an instance, so no test can go around it,
// however it sends.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/paymentsvc/paymentsvc/api"
)

// Contract is api/openapi.yaml.
type Contract struct {
	Document *openapi3.T
	router   routers.Router
	// Comparing takes milliseconds, and thousands of exchanges differ by nothing but
	// ids and times. So each is compared once in each form.
	compared sync.Map // the forms, as text
	// by operationId: operations that have done for some test what they are there for
	exercised sync.Map
}

// Published returns the contract, which is read once.
var Published = sync.OnceValue(func() *Contract {
	document, err := openapi3.NewLoader().LoadFromData(api.Document)
	if err != nil {
		panic(fmt.Sprintf("api/openapi.yaml cannot be read: %v", err))
	}
	if err := document.Validate(context.Background()); err != nil {
		panic(fmt.Sprintf("api/openapi.yaml is not valid: %v", err))
	}
	// Callers are told to ignore members that they do not know. Here a member that is
	// not described is a mistake.
	for _, name := range []string{
		"Account", "AccountPage", "BalanceAt", "CardAttempt", "CardAttemptList", "Entry",
		"EntryPage", "Event", "EventPage", "Payment", "PaymentPage", "Problem", "ProblemField",
		"Refund", "RefundPage",
		"WebhookAttempt", "WebhookAttemptPage", "WebhookEndpoint", "WebhookEndpointPage",
		"WebhookQueued", "WebhookSecret",
	} {
		closed := openapi3.AdditionalProperties{Has: new(false)}
		document.Components.Schemas[name].Value.AdditionalProperties = closed
	}
	// RFC 3339, section 5.6: lower case is allowed
	openapi3.DefineStringFormatValidator("date-time",
		openapi3.NewRegexpFormatValidator("(?i)"+openapi3.FormatOfStringDateTime))
	// pages are text, whatever they say
	for _, contentType := range []string{"application/yaml", "text/html", "text/event-stream"} {
		openapi3filter.RegisterBodyDecoder(contentType, openapi3filter.PlainBodyDecoder)
	}
	document.Servers = nil // tests listen anywhere
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		panic(fmt.Sprintf("api/openapi.yaml cannot be routed by: %v", err))
	}
	return &Contract{Document: document, router: router}
})

// Operations are all that the contract describes.
func (c *Contract) Operations() []*openapi3.Operation {
	var all []*openapi3.Operation
	for _, item := range c.Document.Paths.Map() {
		all = append(all, slices.Collect(maps.Values(item.Operations()))...)
	}
	return all
}

// Unexercised are the ids of the operations that no test of this process has made
// succeed.
func (c *Contract) Unexercised() (ids []string) {
	for _, operation := range c.Operations() {
		if _, done := c.exercised.Load(operation.OperationID); !done {
			ids = append(ids, operation.OperationID)
		}
	}
	return ids
}

// Comparing wraps an instance's handler. What does not keep to the contract fails the
// test.
func (c *Contract) Comparing(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &exchange{ResponseWriter: w, request: r.Clone(context.Background())}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &e.sent), r.Body}
		next.ServeHTTP(e, r)
		if err := c.compare(e); err != nil {
			t.Errorf("%s %s breaks the contract: %v\n%d %v\n%.2000s", r.Method, r.URL, err,
				e.status, e.header, e.answered.Bytes())
		}
	})
}

// exchange is a request and its answer, recorded on their way.
type exchange struct {
	http.ResponseWriter
	request        *http.Request
	sent, answered bytes.Buffer // the bodies; of the first, what was read of it
	status         int
	header         http.Header // of the answer
}

func (e *exchange) WriteHeader(status int) {
	e.status, e.header = status, e.Header().Clone()
	e.ResponseWriter.WriteHeader(status)
}

func (e *exchange) Write(content []byte) (int, error) {
	if e.status == 0 {
		e.WriteHeader(http.StatusOK)
	}
	e.answered.Write(content)
	return e.ResponseWriter.Write(content)
}

// Unwrap is for http.ResponseController.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (c *Contract) compare(e *exchange) error {
	if strings.HasPrefix(e.request.URL.Path, "/docs/assets/") ||
		strings.HasPrefix(e.request.URL.Path, "/console/assets/") {
		return nil // a page's files, which are not for callers
	}
	// is GET, but for the body, which net/http drops later
	if e.request.Method == http.MethodHead {
		e.request.Method = http.MethodGet
	}
	route, pathParams, err := c.router.FindRoute(e.request)
	if err != nil {
		return c.compareUndescribed(e, err)
	}
	// an escaped character is that character (RFC 3986, section 6.2.2.2)
	for name, value := range pathParams {
		if pathParams[name], err = url.PathUnescape(value); err != nil {
			return err
		}
	}
	if e.status < http.StatusMultipleChoices {
		c.exercised.Store(route.Operation.OperationID, true)
	}
	if _, known := c.compared.LoadOrStore(e.form(route), true); known {
		return nil
	}
	described := route.Operation.Responses.Status(e.status)
	if described == nil {
		return fmt.Errorf("%s is not described as answering %d", route.Operation.OperationID,
			e.status)
	}
	e.request.Body = io.NopCloser(bytes.NewReader(e.sent.Bytes()))
	request := &openapi3filter.RequestValidationInput{
		Request: e.request, PathParams: pathParams, Route: route, Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true,
		},
	}
	// A replay may be of a request that an older release took .
	if e.status < http.StatusMultipleChoices && e.header.Get("Idempotent-Replayed") == "" {
		if err := openapi3filter.ValidateRequest(context.Background(), request); err != nil {
			return fmt.Errorf("it took a request that it says it refuses: %w", err)
		}
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: e.status, Header: e.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	answer.SetBodyBytes(e.answered.Bytes())
	return errors.Join(
		openapi3filter.ValidateResponse(context.Background(), answer),
		undescribedHeader(e.header, described),
	)
}

// cursors differ from page to page.
var cursors = regexp.MustCompile(`cursor(=|":")[\w%-]+`)

// form is the exchange without what differs from one of its kind to the next: ids,
// times, amounts and cursors, and how often something is repeated in a list. Only the
// first of a form is compared, which is what keeps the comparison of thousands cheap.
// The price: of two amounts with as many digits the second is not compared, and of two
// words that differ only in letters up to f.
func (e *exchange) form(route *routers.Route) string {
	header := e.header.Clone()
	header.Del("Idempotency-Key") // any text
	header.Del("Content-Length")
	text := fmt.Sprint(header, e.answered.String())
	if e.status < http.StatusMultipleChoices {
		text += fmt.Sprint(e.request.URL, e.request.Header["Content-Type"],
			e.request.Header["Idempotency-Key"], e.sent.String())
	}
	text = strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r && r <= 'f' {
			return '0' // hexadecimal digits are all alike
		}
		return r
	}, cursors.ReplaceAllString(text, "cursor"))
	// a list of ten is as a list of one
	text = strings.Join(slices.Compact(strings.Split(text, "},{")), "},{")
	return fmt.Sprint(route.Operation.OperationID, " ", e.status, " ", text)
}

// compareUndescribed judges the answer to a request for which there is no operation.
func (c *Contract) compareUndescribed(e *exchange, reason error) error {
	want := http.StatusNotFound
	if errors.Is(reason, routers.ErrMethodNotAllowed) {
		want = http.StatusMethodNotAllowed
	}
	if e.status != want {
		return fmt.Errorf("it answers %d, and there is no such operation (%w)", e.status, reason)
	}
	if got := e.header.Get("Content-Type"); got != "application/problem+json" {
		return fmt.Errorf("it is %q, and not a problem document", got)
	}
	value, err := openapi3filter.JSONBodyDecoder(&e.answered, e.header, nil, nil)
	if err != nil {
		return err
	}
	return c.Document.Components.Schemas["Problem"].Value.VisitJSON(value,
		openapi3.EnableJSONSchema2020())
}

// plainHeaders say how an answer is sent, and nothing about what it says.
var plainHeaders = []string{
	"Cache-Control", "Connection", "Content-Length", "Content-Type",
	"Date", "X-Content-Type-Options",
}

func undescribedHeader(header http.Header, described *openapi3.ResponseRef) error {
	for name := range header {
		known := slices.Contains(plainHeaders, name)
		for each := range described.Value.Headers {
			known = known || http.CanonicalHeaderKey(each) == name
		}
		if !known {
			return fmt.Errorf("the header %s is not described", name)
		}
	}
	return nil
}
