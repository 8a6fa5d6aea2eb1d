package httpapi

import (
	"encoding/binary"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// listAccounts lists a merchant's accounts, including closed ones, ascending by id.
func (a *api) listAccounts(w http.ResponseWriter, r *http.Request) error {
	q, err := listQueryOf(r)
	if err != nil {
		return err
	}
	after := string(q.position)
	if q.position != nil && !ledger.ValidAccountID(after) {
		return errCursor
	}
	accounts, err := a.Accounts.List(r.Context(), requestOf(r).identity.MerchantID, after,
		q.limit+1)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, pageOf(&q, accounts, viewAccount,
		func(account *ledger.Account) []byte { return []byte(account.AccountID) }))
}

// entryJSON is a line of an account's statement.
type entryJSON struct {
	Sequence     int64  `json:"sequence"`
	Amount       int64  `json:"amount"` // negative: money left the account
	Currency     string `json:"currency"`
	BalanceAfter int64  `json:"balance_after"`
	PaymentID    string `json:"payment_id"`
	At           string `json:"at"`
}

// listEntries lists an account's entries, newest first.
func (a *api) listEntries(w http.ResponseWriter, r *http.Request) error {
	ref := accountOf(r)
	q, err := listQueryOf(r)
	if err != nil {
		return err
	}
	before := int64(ledger.NewestEntry)
	if q.position != nil {
		if len(q.position) != 8 {
			return errCursor
		}
		before = int64(binary.BigEndian.Uint64(q.position)) //nolint:gosec // as written below
	}
	// An unknown account is an error, not an empty list.
	if _, err := a.Accounts.Get(r.Context(), ref); err != nil {
		return err
	}
	entries, err := a.Accounts.Entries(r.Context(), ref, before, q.limit+1)
	if err != nil {
		return err
	}
	position := func(e *ledger.WrittenEntry) []byte {
		return binary.BigEndian.AppendUint64(nil, uint64(e.Sequence)) //nolint:gosec // from 1 on
	}
	return writeJSON(w, http.StatusOK, pageOf(&q, entries, viewEntry, position))
}

func viewEntry(e *ledger.WrittenEntry) entryJSON {
	return entryJSON{
		Sequence:     e.Sequence,
		Amount:       e.Minor,
		Currency:     string(e.Currency),
		BalanceAfter: e.BalanceAfter,
		PaymentID:    payments.FormatID(e.PaymentID),
		At:           e.At.UTC().Format(payments.TimeFormat),
	}
}

// listPayments lists payments, newest first. A page of a filtered list reads a bounded
// number of payments (see payments.Service.List). So it may be short or empty and still
// not be the last: only a null next_cursor ends the list. The filter idempotency_key
// helps a caller that has lost everything but its key: it finds one payment or none.
func (a *api) listPayments(w http.ResponseWriter, r *http.Request) error {
	q, err := listQueryOf(r, "status", "reference", "idempotency_key", "account", "created_after",
		"created_before")
	if err != nil {
		return err
	}
	filter, err := q.paymentFilter()
	if err != nil {
		return err
	}
	before, err := q.before()
	if err != nil {
		return err
	}
	found, err := a.Payments.List(r.Context(), requestOf(r).identity.MerchantID, filter, before,
		q.limit)
	if err != nil {
		return err
	}
	shown := page[jsontext.Value]{Data: make([]jsontext.Value, len(found.Payments))}
	for i, payment := range found.Payments {
		shown.Data[i] = payment.JSON()
	}
	if found.Next != nil {
		shown.NextCursor = q.cursor(found.Next[:])
	}
	return writeJSON(w, http.StatusOK, &shown)
}

// paymentFilter reads the filters. It refuses a value that no payment can have: a
// misspelt status would give an empty list, which looks like an answer.
func (q *listQuery) paymentFilter() (filter payments.Filter, err error) {
	get := q.filters.Get
	filter.Status = payments.Status(get("status"))
	if filter.Status != "" && !filter.Status.Known() {
		return filter, &invalidRequest{detail: "status is not one that a payment can have"}
	}
	filter.Reference = get("reference")
	if !payments.ValidReference(filter.Reference) {
		return filter, &invalidRequest{detail: "reference is not one that a payment can have"}
	}
	filter.Account = get("account")
	if filter.Account != "" && !ledger.ValidAccountID(filter.Account) {
		return filter, &invalidRequest{detail: "account is not the id of any account"}
	}
	if key := q.filters["idempotency_key"]; key != nil {
		if filter.Key, err = idempotency.ParseKey(key); err != nil {
			return filter, &invalidRequest{detail: "idempotency_key cannot be any request's " +
				"key; it is written as in the header, so quote one that has a comma"}
		}
	}
	if filter.CreatedFrom, err = timeOf(q.filters, "created_after"); err != nil {
		return filter, err
	}
	filter.CreatedBefore, err = timeOf(q.filters, "created_before")
	return filter, err
}
