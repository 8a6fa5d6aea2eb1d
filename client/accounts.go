package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// AccountTerms are the terms that PutAccount sets, all at once. A field that is left zero
// resets its term to the default.
type AccountTerms struct {
	Currency       string            // never changes once the account exists
	OverdraftLimit int64             // how far below zero the balance may go, in minor units
	Unlimited      bool              // no overdraft limit: the account that money comes from
	Name           string            // for people
	Metadata       map[string]string // for programs
	IfVersion      int64             // only if the account still has this version; 0: always
	Status         AccountStatus     // AccountOpen opens a closed account, with IfVersion
}

// MarshalJSON writes the terms as the request has them. There, null means no limit. Here
// that has its own field, so that a forgotten field never means no limit.
func (t AccountTerms) MarshalJSON() ([]byte, error) {
	terms := struct {
		Currency       string            `json:"currency"`
		OverdraftLimit *int64            `json:"overdraft_limit"`
		Name           string            `json:"name,omitempty"`
		Metadata       map[string]string `json:"metadata,omitempty"`
		Status         AccountStatus     `json:"status,omitempty"`
	}{t.Currency, &t.OverdraftLimit, t.Name, t.Metadata, t.Status}
	if t.Unlimited {
		terms.OverdraftLimit = nil
	}
	return json.Marshal(terms)
}

// AccountStatus tells whether an account takes payments.
type AccountStatus string

// The statuses of an account.
const (
	AccountOpen   AccountStatus = "open"
	AccountClosed AccountStatus = "closed"
)

// Account is an account of the merchant. Amounts are in its currency's minor unit, within
// ±(2^53-1).
type Account struct {
	ID             string            `json:"id"`
	Currency       string            `json:"currency"`
	Balance        int64             `json:"balance"`
	Held           int64             `json:"held"`            // by authorizations
	Available      *int64            `json:"available"`       // nil: unlimited
	OverdraftLimit *int64            `json:"overdraft_limit"` // nil: unlimited
	Status         AccountStatus     `json:"status"`
	Name           string            `json:"name"`
	Metadata       map[string]string `json:"metadata"`
	CreatedAt      time.Time         `json:"created_at"`
	Version        int64             `json:"version"` // increases with its terms' changes
}

func (a *Account) complete() bool { return a.ID != "" }

// PutAccount creates an account under the id that the caller chooses, or replaces the
// terms of an existing account.
func (c *Client) PutAccount(
	ctx context.Context, accountID string, terms AccountTerms,
) (*Account, error) {
	r, err := newWrite("setting an account", http.MethodPut, terms, "accounts", accountID)
	if err == nil {
		r.ifVersion = terms.IfVersion
	}
	return get[Account](ctx, c, r, err)
}

// GetAccount reads an account as it is now.
func (c *Client) GetAccount(ctx context.Context, accountID string) (*Account, error) {
	r, err := newCall("reading an account", http.MethodGet, "accounts", accountID)
	return get[Account](ctx, c, r, err)
}

// AccountBalance is an account's balance at a time.
type AccountBalance struct {
	ID       string    `json:"id"`
	Currency string    `json:"currency"`
	Balance  int64     `json:"balance"`
	At       time.Time `json:"at"`
}

func (b *AccountBalance) complete() bool { return b.ID != "" && !b.At.IsZero() }

// BalanceAt reads an account's balance at a time, including entries at that time.
func (c *Client) BalanceAt(
	ctx context.Context, accountID string, at time.Time,
) (*AccountBalance, error) {
	r, err := newCall("reading a balance", http.MethodGet, "accounts", accountID)
	if err == nil {
		r.path += "?" + url.Values{"at": {at.UTC().Format(time.RFC3339Nano)}}.Encode()
	}
	return get[AccountBalance](ctx, c, r, err)
}

// CloseAccount closes an empty account. A repetition changes nothing.
func (c *Client) CloseAccount(ctx context.Context, accountID string) error {
	r, err := newCall("closing an account", http.MethodDelete, "accounts", accountID)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, r, nil)
	return err
}

// ListAccounts reads one page of the merchant's accounts, including closed ones, by id.
func (c *Client) ListAccounts(ctx context.Context, page PageRequest) (*Page[Account], error) {
	return list[Account](ctx, c, "listing accounts", nil, page, "accounts")
}

// Accounts reads all accounts of the merchant. An error ends the sequence.
func (c *Client) Accounts(ctx context.Context) iter.Seq2[Account, error] {
	return all(func(page PageRequest) (*Page[Account], error) { return c.ListAccounts(ctx, page) })
}

// Entry is a line of an account's statement. Amounts are in the currency's minor unit.
type Entry struct {
	Sequence     int64     `json:"sequence"` // in the account, from 1, without gaps
	Amount       int64     `json:"amount"`   // negative: money left the account
	Currency     string    `json:"currency"`
	BalanceAfter int64     `json:"balance_after"`
	PaymentID    string    `json:"payment_id"`
	At           time.Time `json:"at"`
}

// ListEntries reads one page of an account's statement, newest first.
func (c *Client) ListEntries(
	ctx context.Context, accountID string, page PageRequest,
) (*Page[Entry], error) {
	return list[Entry](ctx, c, "reading a statement", nil, page, "accounts", accountID, "entries")
}

// Entries reads an account's whole statement, newest first. An error ends the sequence.
func (c *Client) Entries(ctx context.Context, accountID string) iter.Seq2[Entry, error] {
	return all(func(page PageRequest) (*Page[Entry], error) {
		return c.ListEntries(ctx, accountID, page)
	})
}
