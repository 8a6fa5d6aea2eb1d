package simulator

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// bodyMax is more than any request of the API needs.
const bodyMax = 1 << 20

// operation is what a request does in the transaction of the books. Its result is the body
// of a 200. A refusal is an answer too; every other error is a 500.
type operation func(*entry, *call) (any, error)

// call is one request of the API.
type call struct {
	w           http.ResponseWriter
	r           *http.Request
	step        Step
	id          string // of the path
	params      params
	key         string // "": there is none, or the method is GET
	fingerprint string
	requestID   string
	plan        plan
	release     func() // frees the key for other requests; safe to call twice
}

// answer is the status and body that a request gets.
type answer struct {
	status int
	body   []byte
}

// handler routes the requests.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	const intents, refunds = "/v1/payment_intents", "/v1/refunds"
	for pattern, route := range map[string]struct {
		step    Step
		operate operation
	}{
		"POST " + intents:                   {StepCreate, createIntent},
		"GET " + intents:                    {StepList, listIntents},
		"GET " + intents + "/{id}":          {StepRetrieve, retrieveIntent},
		"POST " + intents + "/{id}/confirm": {StepConfirm, confirmIntent},
		"POST " + intents + "/{id}/capture": {StepCapture, captureIntent},
		"POST " + intents + "/{id}/cancel":  {StepCancel, cancelIntent},
		"POST " + refunds:                   {StepRefund, createRefund},
		"GET " + refunds:                    {StepList, listRefunds},
		"GET " + refunds + "/{id}":          {StepRetrieve, retrieveRefund},
		"GET /v1/disputes":                  {StepList, listDisputes},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.serve(w, r, route.step, route.operate)
		})
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, errUnknownURL.answer())
	})
	s.addPages(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.work.Add(1)
		defer s.work.Done()
		mux.ServeHTTP(w, r)
	})
}

// serve answers a request of the API.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, step Step, operate operation) {
	c := &call{
		w: w, r: r, step: step, id: r.PathValue("id"), requestID: "req_" + rand.Text()[:14],
		release: func() {},
	}
	w.Header().Set("Request-Id", c.requestID)
	w.Header().Set("Stripe-Version", s.options.APIVersion)
	if err := s.read(c); err != nil {
		s.refuse(c, err)
		return
	}
	s.log.Debug("a request", "step", step, "id", c.id, "request_id", c.requestID)
	s.run(c, operate)
}

// read checks the caller's secret, and reads the parameters and the key.
func (s *Server) read(c *call) error {
	secret, _ := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(secret), []byte(s.options.Secret)) == 0 {
		return errUnauthorized
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, bodyMax)
	if err := c.r.ParseForm(); err != nil {
		return invalid("", "", "The request could not be read: %v", err)
	}
	c.params = params(c.r.Form)
	if c.r.Method != http.MethodPost {
		return nil
	}
	c.key = c.r.Header.Get("Idempotency-Key")
	if len(c.key) > keySizeMax {
		return invalid("", "", "Idempotency keys have at most %d characters.", keySizeMax)
	}
	c.fingerprint = fingerprint(c.r.Method, c.r.URL.Path, c.params)
	return nil
}

// run executes a request once for its key, and answers it or does not, by its plan.
func (s *Server) run(c *call, operate operation) {
	c.plan = s.dice.plan(c.step)
	if c.plan.down {
		s.refuse(c, broken(http.StatusServiceUnavailable))
		return
	}
	if !s.pause(c.plan.latency) {
		abort()
	}
	first, err := s.claim(c)
	defer c.release() // for aborts: an answer is sent only after the key is free
	if err == nil && first == nil {
		err = s.planFault(c)
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	if !s.before(c) {
		return
	}
	if first != nil {
		c.release()
		c.w.Header().Set("Idempotent-Replayed", "true")
		c.w.Header().Set("Original-Request", first.RequestID)
		s.send(c, answer{status: first.Status, body: first.Body})
		return
	}
	if c.plan.before == fault500Before {
		operate = func(*entry, *call) (any, error) {
			return nil, broken(http.StatusInternalServerError)
		}
	}
	a, committed, err := s.execute(c, operate)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.finishLater(committed.later)
	s.events.addBeforeAnswer(committed.events)
	c.release()
	s.send(c, a)
}

// execute runs the operation in a transaction, which stores its answer too. The error is a
// refusal before the execution, or a failure: then nothing has been written.
func (s *Server) execute(c *call, operate operation) (a answer, committed entry, err error) {
	committed, err = s.books.update(func(e *entry) error {
		body, err := operate(e, c)
		if refused, ok := errors.AsType[*refusal](err); ok && refused.executed {
			a = refused.answer()
		} else if err != nil {
			return err
		} else if a, err = ok200(body); err != nil {
			return err
		}
		if c.plan.after == fault500After {
			a = broken(http.StatusInternalServerError).answer()
		}
		return store(e, c, a)
	})
	return a, committed, err
}

func ok200(body any) (answer, error) {
	raw, err := json.Marshal(body)
	return answer{status: http.StatusOK, body: raw}, err
}

// answer is the error document.
func (r *refusal) answer() answer {
	raw, err := json.Marshal(map[string]wireError{"error": r.body})
	if err != nil {
		panic(err) // the type above is wrong
	}
	return answer{status: r.status, body: raw}
}

// refuse answers with an error whose answer is not stored.
func (s *Server) refuse(c *call, err error) {
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		s.log.Error("a request failed", "request_id", c.requestID, "step", c.step, "error", err)
		refused = broken(http.StatusInternalServerError)
	}
	c.release()
	write(c.w, refused.answer())
}

func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that has gone does not read it
}
