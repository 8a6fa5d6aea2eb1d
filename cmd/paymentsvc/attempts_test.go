package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// leave charges a card with a payment method that leaves the attempt open.
func (s *shop) leave(method string) {
	s.Helper()
	s.sendAs("left", http.StatusConflict, "/payments", leftBody(method))
}

func leftBody(method string) string {
	return strings.Replace(chargeBody(700, ""), "pm_card_visa", method, 1)
}

// toReview leaves the open attempt to a person, and returns its id.
func (s *shop) toReview() (id string) {
	s.Helper()
	if err := s.db.Pool.QueryRow(s.Context(), `
		UPDATE processor_attempts SET state = 'review', problem = 'a test'
		WHERE state = 'open'
		RETURNING id::text`).Scan(&id); err != nil {
		s.Fatal(err)
	}
	return id
}

type printedAttempt struct {
	AttemptID     string `json:"attempt_id"`
	Operation     string
	State         string
	IntentID      string `json:"intent_id"`
	Problem       string
	PaymentID     string `json:"payment_id"`
	PaymentStatus string `json:"payment_status"`
	RefundStatus  string `json:"refund_status"`
	Token         int
	Processor     struct {
		Intent  *struct{ Status string }
		Refunds []struct{ Amount int }
		Error   *string
	}
}

func (s *shop) list(args ...string) []printedAttempt {
	s.Helper()
	var list struct{ Data []printedAttempt }
	succeed(s.T, s.db, &list, append([]string{"attempts", "list"}, args...)...)
	return list.Data
}

// attempt runs a command that prints one attempt.
func (s *shop) attempt(args ...string) (a printedAttempt) {
	s.Helper()
	succeed(s.T, s.db, &a, s.flags(append([]string{"attempts"}, args...)...)...)
	return a
}

func TestResolveDeclinesOnlyWhatIsCanceled(t *testing.T) {
	s := newShop(t)
	s.leave("pm_sim_500_before_charge")
	id := s.toReview()
	if list := s.list("--state", "review"); len(list) != 1 || list[0].AttemptID != id ||
		list[0].Problem != "a test" || len(s.list("--state", "open")) != 0 ||
		len(s.list("--payment", list[0].PaymentID)) != 1 || len(s.list("--merchant", "7")) != 0 {
		t.Errorf("listed are %+v", list)
	}
	if shown := s.attempt("show", id); shown.IntentID != s.intent().ID ||
		shown.Processor.Intent.Status != "requires_confirmation" {
		t.Errorf("shown is %+v", shown)
	}
	resolved := s.attempt("resolve", id, "--declined")
	if resolved.State != "settled" || resolved.PaymentStatus != "declined" ||
		s.intent().Status != "canceled" {
		t.Errorf("%+v; the intent is %s", resolved, s.intent().Status)
	}
	s.sendAs("left", http.StatusPaymentRequired, "/payments", leftBody("pm_sim_500_before_charge"))
	s.wantKinds()
	if code, _, complaints := s.run("attempts", "resolve", id, "--declined"); code != 1 ||
		!strings.Contains(complaints, "settled already") {
		t.Errorf("again: exit code %d, %s", code, complaints)
	}
}

func TestResolveSettlesWhatTheProcessorHasCharged(t *testing.T) {
	s := newShop(t)
	s.leave("pm_sim_hang") // longer than a call waits
	if err := s.processor.SetFaults(simulator.Faults{}); err != nil {
		t.Fatal(err)
	}
	id := s.toReview()
	if _, err := s.adapter().Confirm(t.Context(), "another key", s.intent().ID); err != nil {
		t.Fatal(err)
	}
	if resolved := s.attempt("resolve", id, "--declined"); resolved.PaymentStatus != "succeeded" ||
		resolved.State != "settled" {
		t.Errorf("%+v", resolved)
	}
	s.sendAs("left", http.StatusCreated, "/payments", leftBody("pm_sim_hang"))
	if s.intent().TimesTaken != 1 {
		t.Errorf("the processor has %+v", s.intent())
	}
}

func TestResolveRefusesWhatAnInstanceWorksOn(t *testing.T) {
	s := newShop(t)
	s.leave("pm_sim_500_before_charge")
	s.exec(`UPDATE processor_attempts SET due_at = clock_timestamp() + interval '1 h'`)
	left := s.list()[0]
	for _, decision := range []string{"--retry", "--declined"} {
		code, _, complaints := s.run("attempts", "resolve", left.AttemptID, decision)
		if code != 1 || !strings.Contains(complaints, "an instance works on the attempt") {
			t.Errorf("%s: exit code %d, %s", decision, code, complaints)
		}
	}
	if now := s.list()[0]; now.Token != left.Token ||
		s.intent().Status != "requires_confirmation" {
		t.Errorf("it has become %+v", now)
	}
	code, _, complaints := s.run("attempts", "resolve", left.AttemptID, "--refunded")
	if code != 1 || !strings.Contains(complaints, "it is a charge") {
		t.Errorf("--refunded: exit code %d, %s", code, complaints)
	}
	s.toReview()
	if resolved := s.attempt("resolve", left.AttemptID, "--retry"); resolved.State != "open" ||
		resolved.Token <= left.Token {
		t.Errorf("retried it is %+v", resolved)
	}
	s.recover()
	s.wantKinds()
}

func TestResolveRefundsAsTheProcessorSays(t *testing.T) {
	s := newShop(t)
	fail := func(f simulator.StepFaults) {
		t.Helper()
		if err := s.processor.SetFaults(
			simulator.Faults{Steps: map[simulator.Step]simulator.StepFaults{
				simulator.StepRefund: f,
			}}); err != nil {
			t.Fatal(err)
		}
	}
	payment := s.charge(900, "")
	refund := func() (id string) {
		t.Helper()
		s.send(http.StatusConflict, payment+"/refunds", `{"amount":100}`)
		return s.toReview()
	}
	before := simulator.StepFaults{Before: simulator.Before{Reset: 1}}
	fail(before)
	id := refund()
	code, _, complaints := s.run("attempts", "resolve", id, "--refunded")
	if code != 1 || !strings.Contains(complaints, "the intent has no refund of this amount") {
		t.Errorf("exit code %d, %s", code, complaints)
	}
	if list := s.list(); len(list) != 1 || list[0].State != "review" {
		t.Errorf("refused, it is %+v", list)
	}
	if got := s.attempt("resolve", id, "--not-refunded"); got.RefundStatus != "declined" {
		t.Errorf("not refunded, it is %+v", got)
	}

	id = refund()
	s.at("refunds", s.intent().ID, 100) // a person has made it instead
	if got := s.attempt("resolve", id, "--refunded"); got.RefundStatus != "succeeded" {
		t.Errorf("refunded by hand, it is %+v", got)
	}
	id = refund()
	if code, _, complaints := s.run("attempts", "resolve", id, "--refunded"); code != 1 ||
		!strings.Contains(complaints, "no refund of this amount") {
		t.Errorf("that refund is booked: exit code %d, %s", code, complaints)
	}
	s.attempt("resolve", id, "--not-refunded")

	fail(simulator.StepFaults{After: simulator.After{Reset: 1}})
	id = refund()
	if shown := s.attempt("show", id); len(shown.Processor.Refunds) != 2 {
		t.Errorf("shown is %+v", shown)
	}
	if got := s.attempt("resolve", id, "--not-refunded"); got.RefundStatus != "succeeded" {
		t.Errorf("the processor has it, so it is not %+v", got)
	}
	s.wantKinds()
}
