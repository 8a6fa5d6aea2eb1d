package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// bench is an instance of the service on a database of its own, and a client of its
// merchant.
type bench struct {
	*testing.T
	url, apiKey string
	*client.Client
}

// newBench starts one instance. The merchant has no accounts.
func newBench(t *testing.T) *bench {
	t.Helper()
	db := pgtest.New(t)
	url, apiKey := inprocess.Start(t, db.URL).URL(), journal.CreateMerchant(t, db.URL).APIKey
	return &bench{t, url, apiKey, newClient(t, client.Options{URL: url, APIKey: apiKey})}
}

// balance fails the test unless the account has that balance, and that much held.
func (b *bench) balance(account string, balance, held int64) {
	b.Helper()
	got := must[*client.Account](b.T)(b.GetAccount(b.Context(), account))
	if got.Balance != balance || got.Held != held {
		b.Errorf("%s has %d and %d held, want %d and %d", account, got.Balance, got.Held, balance,
			held)
	}
}

// refused fails the test unless the error is the service's no with that code.
func (b *bench) refused(err error, code string) {
	b.Helper()
	_ = b.refusal(err, code)
}

// refusal is the service's no, which has to have that code.
func (b *bench) refusal(err error, code string) *client.Error {
	b.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Code != code || errors.Is(err, client.ErrUnknownOutcome) {
		b.Fatalf("want %s: %v", code, err)
	}
	return e
}

// furnish makes the accounts: money comes from the world, and alice has none.
func (b *bench) furnish() {
	b.Helper()
	put := must[*client.Account](b.T)
	world := put(b.PutAccount(b.Context(), "world",
		client.AccountTerms{Currency: "USD", Unlimited: true}))
	if world.OverdraftLimit != nil || world.Available != nil {
		b.Errorf("the world has limits: %+v", world)
	}
	alice := put(b.PutAccount(b.Context(), "alice",
		client.AccountTerms{Currency: "USD", Name: "Alice"}))
	if alice.OverdraftLimit == nil || *alice.OverdraftLimit != 0 ||
		alice.Status != client.AccountOpen || alice.Name != "Alice" {
		b.Errorf("alice is %+v", alice)
	}
	put(b.PutAccount(b.Context(), "shop", client.AccountTerms{Currency: "USD"}))
}

func (b *bench) charge(key client.Key, from, to string, amount int64) *client.PaymentReply {
	b.Helper()
	return must[*client.PaymentReply](b.T)(b.Charge(b.Context(), key,
		client.Charge{
			Amount: amount, Currency: "USD", SourceAccount: from,
			DestinationAccount: to,
		}))
}

func TestAPaymentsWholeLife(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	b.charge("allowance", "world", "alice", 10_000)
	payment := must[*client.PaymentReply](t)

	order := client.Charge{
		Amount: 6000, Currency: "USD", SourceAccount: "alice", DestinationAccount: "shop",
		Reference: "order-1", Description: "a <book> & \u2028 a pen",
		Metadata: map[string]string{"cart": "7"},
	}
	held := payment(b.Authorize(t.Context(), `order 1 "hold"`, order))
	if held.Status != client.PaymentAuthorized || held.Replayed || held.Attempts != 1 ||
		held.Description != order.Description ||
		held.Reference != "order-1" || held.Metadata["cart"] != "7" || held.CreatedAt.IsZero() ||
		!held.AuthorizedUntil.After(held.CreatedAt) || held.RequestID == "" {
		t.Errorf("authorized: %+v", held)
	}
	b.balance("alice", 10_000, 6000)

	captured := payment(b.Capture(t.Context(), "order-1/capture", held.ID,
		client.CaptureRequest{Amount: new(int64(5000))}))
	again := payment(b.Capture(t.Context(), "order-1/capture", held.ID,
		client.CaptureRequest{Amount: new(int64(5000))}))
	if captured.Status != client.PaymentSucceeded || captured.AmountCaptured != 5000 ||
		captured.Replayed {
		t.Errorf("captured: %+v", captured)
	}
	if !again.Replayed || again.OriginalRequestID != captured.RequestID ||
		string(again.Body) != string(captured.Body) {
		t.Errorf("captured again: %+v", again)
	}
	b.balance("alice", 5000, 0)

	refund := must[*client.RefundReply](t)(b.Refund(t.Context(), "order-1/refund-1", held.ID,
		client.RefundRequest{Amount: new(int64(2000)), Reason: "the pen"}))
	rest := must[*client.RefundReply](t)(b.Refund(t.Context(), "order-1/refund-2", held.ID,
		client.RefundRequest{}))
	if refund.Status != client.RefundSucceeded || refund.Reason != "the pen" ||
		rest.Amount != 3000 || refund.PaymentID != held.ID {
		t.Errorf("refunds: %+v, %+v", refund, rest)
	}
	_, err := b.Refund(t.Context(), "order-1/refund-3", held.ID,
		client.RefundRequest{Amount: new(int64(1))})
	b.refused(err, "amount_too_large")
	if got := must[*client.Refund](t)(b.GetRefund(t.Context(), held.ID,
		refund.ID)); *got != refund.Refund {
		t.Errorf("the refund reads %+v", got)
	}
	if all := collect(t, b.Refunds(t.Context(), held.ID)); len(all) != 2 ||
		all[0] != rest.Refund || all[1] != refund.Refund {
		t.Errorf("refunds: %+v", all)
	}

	edited := must[*client.Payment](t)(b.EditPayment(t.Context(), held.ID, b.now(held.ID).Version,
		client.PaymentPatch{
			Description: new(""), Metadata: map[string]*string{"cart": nil, "box": new("9")},
		}))
	if edited.Description != "" || len(edited.Metadata) != 1 || edited.Metadata["box"] != "9" {
		t.Errorf("edited: %+v", edited)
	}
	_, err = b.EditPayment(t.Context(), held.ID, edited.Version-1,
		client.PaymentPatch{Description: new("x")})
	b.refused(err, "precondition_failed")

	another := payment(b.Authorize(t.Context(), "another", client.Charge{
		Amount: 100, Currency: "USD", SourceAccount: "alice", DestinationAccount: "shop",
	}))
	if canceled := payment(b.Cancel(t.Context(), "cancel",
		another.ID)); canceled.Status != client.PaymentCanceled ||
		canceled.CancellationReason != "requested" || !canceled.AuthorizedUntil.IsZero() {
		t.Errorf("canceled: %+v", canceled)
	}
	_, err = b.Capture(t.Context(), "capture", another.ID, client.CaptureRequest{})
	b.refused(err, "invalid_state")
	b.balance("alice", 10_000, 0)
}

// now is a payment as it is now.
func (b *bench) now(id string) *client.Payment {
	b.Helper()
	return must[*client.Payment](b.T)(b.GetPayment(b.Context(), id))
}

func TestADeclineIsFinalAndARefusalIsNot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	broke := client.Charge{
		Amount: 1, Currency: "USD", SourceAccount: "alice",
		DestinationAccount: "shop",
	}
	_, err := b.Charge(t.Context(), "declined", broke)
	first := b.refusal(err, "insufficient_funds")
	b.charge("allowance", "world", "alice", 100)
	_, err = b.Charge(t.Context(), "declined", broke)
	second := b.refusal(err, "insufficient_funds")
	if !first.Declined() || first.Replayed || !second.Replayed ||
		second.PaymentID != first.PaymentID || first.PaymentID == "" ||
		first.Status != 402 || first.Type == "" || first.Title == "" || first.Detail == "" {
		t.Errorf("declines: %+v, %+v", first, second)
	}

	stranger := broke
	stranger.DestinationAccount = "nobody"
	_, err = b.Charge(t.Context(), "refused", stranger)
	if e := b.refusal(err, "account_not_found"); e.Declined() || e.Retry != client.RetrySameKey ||
		len(e.Fields) != 1 || e.Fields[0].Pointer != "/destination_account" {
		t.Errorf("refusal: %+v", e)
	}
	b.charge("refused", "alice", "shop", 1)
	another := broke
	another.Amount++
	_, err = b.Charge(t.Context(), "refused", another)
	if e := b.refusal(err, "idempotency_key_reused"); e.Retry != client.RetryNever ||
		e.PaymentID == "" {
		t.Errorf("reused: %+v", e)
	}
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	before := time.Now().Add(-time.Minute)
	const n = 210 // more than two pages
	for i := range n {
		b.charge(client.Key(name(i)), "world", "shop", int64(i+1))
	}
	payments := collect(t, b.Payments(t.Context(), client.PaymentFilter{
		Status: client.PaymentSucceeded, Account: "shop", CreatedAfter: before,
		CreatedBefore: time.Now().Add(time.Minute),
	}))
	entries := collect(t, b.Entries(t.Context(), "shop"))
	if len(payments) != n || len(entries) != n {
		t.Fatalf("%d payments and %d entries", len(payments), len(entries))
	}
	for i := range n {
		if payments[i].Amount != int64(n-i) || entries[i].Sequence != int64(n-i) ||
			entries[i].PaymentID != payments[i].ID {
			t.Fatalf("number %d: %+v, %+v", i, payments[i], entries[i])
		}
	}
	if balance := entries[0].BalanceAfter; balance != n*(n+1)/2 {
		t.Errorf("the last balance is %d", balance)
	}
	for _, err := range b.Payments(t.Context(), client.PaymentFilter{}) {
		if err != nil {
			t.Error(err)
		}
		break // and nothing is read on
	}

	page := must[*client.Page[client.Payment]](t)(b.ListPayments(t.Context(),
		client.PaymentFilter{IdempotencyKey: "key-7"}, client.PageRequest{Limit: 1}))
	if len(page.Data) != 1 || page.Data[0].Amount != 8 || page.NextCursor != "" {
		t.Errorf("by key: %+v", page)
	}
	if accounts := collect(t, b.Accounts(t.Context())); len(accounts) != 3 ||
		accounts[0].ID != "alice" {
		t.Errorf("accounts: %+v", accounts)
	}
	_, err := b.ListAccounts(t.Context(), client.PageRequest{Limit: 101})
	b.refused(err, "invalid_request")
	for _, err := range b.Entries(t.Context(), "nobody") {
		b.refused(err, "not_found")
	}
}

func TestAnAccountIsPutReadThenAndNowAndClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	put := must[*client.Account](t)
	alice := put(b.PutAccount(t.Context(), "alice",
		client.AccountTerms{Currency: "USD", OverdraftLimit: 50, IfVersion: 1}))
	if *alice.OverdraftLimit != 50 || *alice.Available != 50 || alice.Name != "" ||
		alice.Version != 2 {
		t.Errorf("alice is %+v", alice)
	}
	_, err := b.PutAccount(t.Context(), "alice",
		client.AccountTerms{Currency: "USD", IfVersion: 1})
	b.refused(err, "precondition_failed")

	first := b.charge("1", "alice", "shop", 50)
	b.charge("2", "shop", "alice", 50)
	then := must[*client.AccountBalance](t)(b.BalanceAt(t.Context(), "alice", first.CreatedAt))
	if then.Balance != -50 || then.Currency != "USD" || !then.At.Equal(first.CreatedAt) {
		t.Errorf("then: %+v", then)
	}
	for range 2 {
		if err := b.CloseAccount(t.Context(), "alice"); err != nil {
			t.Error(err)
		}
	}
	closed := put(b.GetAccount(t.Context(), "alice"))
	if closed.Status != client.AccountClosed {
		t.Errorf("closed: %+v", closed)
	}
	open := client.AccountTerms{Currency: "USD", Status: client.AccountOpen}
	_, err = b.PutAccount(t.Context(), "alice", open)
	b.refused(err, "precondition_required")
	open.IfVersion = closed.Version
	if got := put(b.PutAccount(t.Context(), "alice", open)); got.Status != client.AccountOpen {
		t.Errorf("opened: %+v", got)
	}
	b.refused(b.CloseAccount(t.Context(), "nobody"), "not_found")
}
