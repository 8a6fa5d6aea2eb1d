package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// wantKinds compares the rows of a reconciliation, in any order.
func (s *shop) wantKinds(want ...string) {
	s.Helper()
	kinds, out := s.reconcile()
	slices.Sort(kinds)
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		s.Errorf("%v, not %v\n%s", kinds, want, out)
	}
}

// The list of the processor has several pages, and intents of other software.
func TestReconcileFindsNothingWhereBooksAgree(t *testing.T) {
	s := newShop(t)
	held := s.charge(200, hold)
	s.send(http.StatusOK, held+"/capture", `{"amount":150}`)
	s.send(http.StatusCreated, held+"/refunds", `{"amount":20}`)
	s.send(http.StatusOK, s.charge(300, hold)+"/cancel", "")
	s.charge(400, hold)
	s.send(http.StatusPaymentRequired, "/payments",
		strings.Replace(chargeBody(1, ""), "pm_card_visa", "pm_card_chargeDeclined", 1))
	other := s.adapter()
	const more = 120
	var charges sync.WaitGroup
	for client := range 4 {
		charges.Go(func() {
			for i := range more / 4 {
				answer := s.merchant.Do(s.Context(), http.MethodPost, s.in.URL()+"/payments",
					fmt.Sprint("more ", client, i), []byte(chargeBody(500+i, "")))
				if answer.Status != http.StatusCreated {
					s.Error(answer)
				}
				if _, err := s.chargeElsewhere(other, stripe.Owner{
					Installation: uuid.New(), MerchantID: s.merchant.ID, AttemptID: uuid.New(),
				}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	charges.Wait()
	s.wantKinds()
}

// adapter calls the processor without the service.
func (s *shop) adapter() *stripe.Client {
	return stripe.New(stripe.Config{
		SecretKey: simulator.DefaultSecret,
		BaseURL:   s.processor.URL(),
	})
}

// chargeElsewhere charges a card at the processor, without our books.
func (s *shop) chargeElsewhere(c *stripe.Client, owner stripe.Owner) (stripe.Intent, error) {
	intent, err := c.CreateIntent(s.Context(), uuid.NewString(), stripe.NewIntent{
		Owner: owner, Amount: ledger.Money{Minor: 990, Currency: "USD"},
		PaymentMethod: "pm_card_visa",
	})
	if err != nil {
		return intent, err
	}
	return c.Confirm(s.Context(), uuid.NewString(), intent.ID)
}

// owner is the owner of the processor's newest intent.
func (s *shop) owner() stripe.Owner {
	s.Helper()
	intent, err := s.adapter().Retrieve(s.Context(), s.intent().ID)
	if err != nil {
		s.Fatal(err)
	}
	return intent.Owner
}

func TestReconcileReportsPaymentsThatOnlyOneSideHas(t *testing.T) {
	s := newShop(t)
	s.charge(100, "")
	held := s.charge(200, hold)
	s.send(http.StatusCreated, s.charge(300, "")+"/refunds", "")

	// The processor's books are gone, or those of another account.
	elsewhere := *s
	var err error
	if elsewhere.processor, err = simulator.Start(t.Context(), simulator.Options{
		BooksFile: t.TempDir() + "/books",
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = elsewhere.processor.Close() })
	elsewhere.wantKinds("not_there", "not_there", "not_there", "refund_not_there")

	s.send(http.StatusOK, held+"/cancel", "")
	owner := s.owner()
	if _, err := s.chargeElsewhere(s.adapter(), owner); err != nil { // of the canceled attempt
		t.Fatal(err)
	}
	owner.AttemptID = uuid.New()
	lost, err := s.chargeElsewhere(s.adapter(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.adapter().Refund(t.Context(), uuid.NewString(), lost.ID,
		ledger.Money{Minor: 90, Currency: "USD"}, owner); err != nil {
		t.Fatal(err)
	}
	s.wantKinds("charged_twice", "not_here", "refund_not_here")
}

// Each remedy of a change in the dashboard is carried out as docs/operations.md says.
func TestRemediesForChangesInTheDashboard(t *testing.T) {
	s := newShop(t)
	s.charge(110, "")
	s.at("refunds", s.intent().ID, 10)
	s.charge(120, "")
	s.at("disputes", s.intent().ID, 0)
	captured := s.charge(130, hold)
	s.at("captures", s.intent().ID, 90)
	canceled := s.charge(140, hold)
	s.at("cancels", s.intent().ID, 0)
	s.wantKinds("refunded_there", "disputed", "captured_there", "canceled_there")

	s.send(http.StatusOK, captured+"/capture", `{"amount":90}`)
	s.send(http.StatusOK, canceled+"/cancel", "")
	put := s.merchant.Do(t.Context(), http.MethodPut, s.in.URL()+"/accounts/refunded-elsewhere",
		"",
		[]byte(`{"currency":"USD"}`))
	if put.Status != http.StatusCreated {
		t.Fatal(put)
	}
	s.send(http.StatusCreated, "/payments",
		`{"amount":10,"currency":"USD","source_account":"shop-0",`+
			`"destination_account":"refunded-elsewhere","description":"refund in the dashboard"}`)
	// What the processor did alone stays in its list until the time is over.
	s.wantKinds("refunded_there", "disputed")
	yesterday := time.Now().Add(-24 * time.Hour).Format(time.RFC3339)
	if kinds, out := s.reconcile("--since", yesterday, "--until", "1h"); kinds != nil {
		t.Error(out)
	}
}

func TestRemedyForARestoredBackup(t *testing.T) {
	s := newShop(t)
	s.sendAs("lost", http.StatusCreated, "/payments", chargeBody(100, ""))
	restored := s.restore()
	kinds, out := restored.reconcile()
	if !slices.Equal(kinds, []string{"not_here"}) ||
		!strings.Contains(out, "sends the request again with its key before ") {
		t.Fatalf("%v\n%s", kinds, out)
	}
	restored.sendAs("lost", http.StatusCreated, "/payments", chargeBody(100, ""))
	restored.wantKinds()
	books, err := s.processor.Books()
	if err != nil {
		t.Fatal(err)
	}
	if len(books.Intents) != 1 || books.Intents[0].TimesTaken != 1 {
		t.Errorf("the processor has %+v", books.Intents)
	}
}

func TestReconcileMentionsUnfinishedAttempts(t *testing.T) {
	s := newShop(t)
	s.leave("pm_sim_500_before_charge")
	s.wantKinds() // it is younger than the grace period
	s.exec(`UPDATE processor_attempts
		SET state = 'review', created_at = created_at - interval '1 h'`)
	kinds, out := s.reconcile()
	if !slices.Equal(kinds, []string{"unfinished (note)"}) || !strings.Contains(out, "agree") {
		t.Errorf("%v\n%s", kinds, out)
	}
	s.at("cancels", s.intent().ID, 0) // now the processor has come to an end, and we have not
	s.wantKinds("unfinished")
}

func TestReconcileReportsWhenItCannotCompare(t *testing.T) {
	s := newShop(t)
	s.charge(100, "")
	if err := s.processor.SetFaults(simulator.Faults{Down: true}); err != nil {
		t.Fatal(err)
	}
	code, out, complaints := s.run("reconcile")
	if code != 1 || out != "" || !strings.Contains(complaints, "the comparison is not complete") {
		t.Errorf("exit code %d\n%s\n%s", code, out, complaints)
	}
	for _, wrong := range [][]string{
		{"--since", "yesterday"}, {"--until=-1h"}, {"--since", "1h", "--until", "2h"},
	} {
		code, out, complaints := s.run(append([]string{"reconcile"}, wrong...)...)
		if code != 1 || out != "" || !strings.Contains(complaints, wrong[0][:7]) {
			t.Errorf("%v: exit code %d\n%s\n%s", wrong, code, out, complaints)
		}
	}
}

// The background run is one for all instances. Its result is in the metrics of each.
func TestInstancesReconcileOnceAnHour(t *testing.T) {
	s := newShop(t)
	s.charge(110, "")
	s.at("refunds", s.intent().ID, 10)
	other := s.instance(s.db)
	for _, in := range []*inprocess.Instance{s.in, other, s.in} {
		if err := in.Cards.ReconcileDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	logged := s.in.Log.Count("the processor's books differ") +
		other.Log.Count("the processor's books differ")
	if err := other.Cards.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats := other.Cards.Stats()
	if stats.Differences != 1 || logged != 1 || stats.ReconciledAt.IsZero() {
		t.Errorf("%+v, %d lines", stats, logged)
	}
	at := stats.ReconciledAt
	s.exec(`UPDATE processor_installation SET reconcile_due_at = clock_timestamp(),
		reconciled_until = reconciled_until + interval '2 h'`)
	if err := other.Cards.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Cards.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stats := other.Cards.Stats(); stats.Differences != 0 ||
		stats.ReconciledAt.Sub(at) > time.Hour {
		t.Errorf("after a run whose time has no refund: %+v", stats)
	}
}
