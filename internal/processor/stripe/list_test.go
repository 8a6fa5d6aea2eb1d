package stripe_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

func listText(more bool, objects ...string) string {
	return fmt.Sprintf(`{"object":"list","url":"/v1/x","has_more":%t,"data":[%s]}`, more,
		strings.Join(objects, ","))
}

const disputeText = `{"id":"dp_1","object":"dispute","amount":4999,"currency":"usd",
	"created":1764547200,"payment_intent":"pi_1","charge":"ch_1","reason":"fraudulent",
	"status":"needs_response"}`

var (
	since = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	until = time.Date(2026, 11, 2, 0, 0, 0, 1, time.UTC)
)

// TestListsAreReadToTheirEnd has three pages of each kind.
func TestListsAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	for path, row := range map[string]struct {
		text string
		read func(*stripe.Client, *testing.T) (ids []string, err error)
	}{
		"/v1/payment_intents": {
			intentText, func(c *stripe.Client, t *testing.T) (ids []string, err error) {
				for intent, err := range c.Intents(t.Context(), since, until) {
					if err != nil {
						return ids, err
					}
					ids = append(ids, intent.ID)
				}
				return ids, nil
			},
		},
		"/v1/refunds": {
			refundText, func(c *stripe.Client, t *testing.T) (ids []string, err error) {
				for refund, err := range c.AllRefunds(t.Context(), since, until) {
					if err != nil {
						return ids, err
					}
					ids = append(ids, refund.ID)
				}
				return ids, nil
			},
		},
		"/v1/disputes": {
			disputeText, func(c *stripe.Client, t *testing.T) (ids []string, err error) {
				for dispute, err := range c.Disputes(t.Context(), since, until) {
					if err != nil {
						return ids, err
					}
					ids = append(ids, dispute.ID)
				}
				return ids, nil
			},
		},
	} {
		t.Run(path, func(t *testing.T) {
			named := func(id string) string {
				_, rest, _ := strings.Cut(row.text, ",")
				return `{"id":"` + id + `",` + rest
			}
			p := newProcessor(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, map[string]string{
					"":  listText(true, named("a"), named("b")),
					"b": listText(true, named("c")),
					"c": listText(false, named("d")),
				}[r.FormValue("starting_after")])
			})
			ids, err := row.read(p.client(), t)
			if err != nil || strings.Join(ids, "") != "abcd" {
				t.Errorf("got %v, %v", ids, err)
			}
			for _, r := range p.got() {
				if r.path != path || r.form.Get("created[gte]") != "1793491200" ||
					r.form.Get("created[lt]") != "1793577601" || r.form.Get("limit") != "20" {
					t.Errorf("asked %s %v", r.path, r.form)
				}
				if r.header.Get("Idempotency-Key") != "" {
					t.Error("a read has a key")
				}
			}
		})
	}
}

// TestBrokenListIsNoEnd gives pages that must not be taken for the end of a list.
func TestBrokenListIsNoEnd(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"garbage":                "OK",
		"empty object":           `{}`,
		"null":                   `null`,
		"another object":         intentText,
		"empty page before more": listText(true),
		"null in a page":         listText(false, "null"),
		"foreign object":         listText(false, refundText),
		"page again and again":   listText(true, intentText),
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcessor(t, answering(200, text))
			var last error
			for _, err := range p.client().Intents(t.Context(), since, until) {
				last = err
			}
			wantUnknown(t, last, stripe.CodeUnreadable)
			if n := len(p.got()); n > 2 {
				t.Errorf("the list was read %d times", n)
			}
		})
	}
}

func TestListEndsWhereItsReaderStops(t *testing.T) {
	p := newProcessor(t, answering(200, listText(true, intentText)))
	for _, err := range p.client().Intents(t.Context(), since, until) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if n := len(p.got()); n != 1 {
		t.Errorf("the list was read %d times", n)
	}
}

func TestErrorWithinListIsItsLastValue(t *testing.T) {
	p := newProcessor(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("starting_after") != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, listText(true, intentText))
	})
	var errs []error
	for _, err := range p.client().Intents(t.Context(), since, until) {
		errs = append(errs, err)
	}
	if len(errs) != 2 || errs[0] != nil || stripe.OutcomeOf(errs[1]) != stripe.Unknown {
		t.Errorf("got %v", errs)
	}
}

func TestRefundsAreThoseOfTheIntent(t *testing.T) {
	failed := change(t, refundText, "re_1", "re_2", `"succeeded"`,
		`"failed","failure_reason":"expired_or_canceled_card"`)
	p := newProcessor(t, answering(200, listText(false, refundText, failed)))
	got, err := p.client().Refunds(t.Context(), "pi_1")
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	want := stripe.Refund{
		Owner: owner, ID: "re_2", IntentID: "pi_1", Amount: usd, Status: stripe.RefundFailed,
		CreatedAt: time.Unix(1764547200, 0).UTC(),
	}
	if got[1] != want {
		t.Errorf("got  %+v\nwant %+v", got[1], want)
	}
	if asked := p.got()[0].form.Get("payment_intent"); asked != "pi_1" {
		t.Errorf("asked for the refunds of %q", asked)
	}
	_, err = p.client().Refunds(t.Context(), "")
	wantUnknown(t, err, "no_intent")
	if n := len(p.got()); n != 1 {
		t.Errorf("refunds of no intent were asked for: %d requests", n)
	}
	_, err = p.client().Refunds(t.Context(), "pi_2")
	wantUnknown(t, err, stripe.CodeContradiction)
}
