package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// addPages adds the pages for tests. They need no secret: a simulator has none to keep.
func (s *Server) addPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /books", func(w http.ResponseWriter, _ *http.Request) {
		all, err := s.Books()
		s.show(w, all, err)
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.show(w, s.dice.get(), nil)
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		faults, err := body[Faults](w, r)
		if err == nil {
			err = s.SetFaults(faults)
		}
		s.show(w, faults, asInvalid(err))
	})
	mux.HandleFunc("POST /webhook", func(w http.ResponseWriter, r *http.Request) {
		webhook, err := body[struct {
			URL string `json:"url"`
		}](w, r)
		if err == nil {
			s.SetWebhookURL(webhook.URL)
		}
		s.show(w, webhook, asInvalid(err))
	})
	for page, operate := range map[string]func(pressed, *entry) (any, error){
		"refunds": pressed.refund, "cancels": pressed.cancel, "captures": pressed.capture,
		"disputes": pressed.dispute,
	} {
		mux.HandleFunc("POST /dashboard/"+page, func(w http.ResponseWriter, r *http.Request) {
			s.press(w, r, operate)
		})
	}
}

// pressed is what a person at the dashboard has entered.
type pressed struct {
	PaymentIntent string `json:"payment_intent"`
	Amount        int64  `json:"amount"` // 0: all
	Reason        string `json:"reason"`
}

// press acts as that person: without a key, and without faults.
func (s *Server) press(w http.ResponseWriter, r *http.Request,
	operate func(pressed, *entry) (any, error),
) {
	entered, err := body[pressed](w, r)
	if err != nil {
		s.show(w, nil, asInvalid(err))
		return
	}
	var object any
	committed, err := s.books.update(func(e *entry) (err error) {
		object, err = operate(entered, e)
		return err
	})
	if err == nil {
		s.finishLater(committed.later)
		s.events.add(committed.events)
	}
	s.show(w, object, err)
}

// call makes the parameters of the API's operation.
func (p pressed) call(amount, reason string) *call {
	c := &call{id: p.PaymentIntent, params: params{}}
	if p.Amount != 0 {
		c.params[amount] = []string{strconv.FormatInt(p.Amount, 10)}
	}
	if p.Reason != "" {
		c.params[reason] = []string{p.Reason}
	}
	return c
}

func (p pressed) refund(e *entry) (any, error) {
	c := p.call("amount", "reason")
	c.params["payment_intent"] = []string{p.PaymentIntent}
	return createRefund(e, c)
}

func (p pressed) cancel(e *entry) (any, error) {
	return cancelIntent(e, p.call("amount", "cancellation_reason"))
}

func (p pressed) capture(e *entry) (any, error) {
	return captureIntent(e, p.call("amount_to_capture", "reason"))
}

func (p pressed) dispute(e *entry) (any, error) {
	i, err := findIntent(e, p.PaymentIntent)
	if err != nil {
		return nil, err
	}
	if i.Status != statusSucceeded {
		return nil, conflicting(e, i, "dispute")
	}
	d, err := i.dispute(e, cmp.Or(p.Amount, i.Received), cmp.Or(p.Reason, "fraudulent"))
	return d.wire(), err
}

// body reads a JSON body without unknown members.
func body[T any](w http.ResponseWriter, r *http.Request) (read T, err error) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		return read, fmt.Errorf("reading the body: %w", err)
	}
	return read, nil
}

func asInvalid(err error) error {
	if err == nil {
		return nil
	}
	return invalid("", "", "%v", err)
}

// show answers a page.
func (s *Server) show(w http.ResponseWriter, object any, err error) {
	a, errWire := ok200(object)
	if err = errors.Join(err, errWire); err != nil {
		s.refuse(&call{w: w, release: func() {}}, err)
		return
	}
	write(w, a)
}
