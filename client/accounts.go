package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// AccountTerms are what PutAccount sets, all of them at once: what is left zero goes
// back to its default.
type AccountTerms struct {
	Currency string // never changes once the account is there
	// how far below zero the balance may go, in the currency's minor unit
	OverdraftLimit int64
	// there is no overdraft limit: the account is where money comes from
	Unlimited bool
	Name      string            // for people
	Metadata  map[string]string // for programs
	// only if the account has this version still; 0: whatever it has, also if there is
	// none
	IfVersion int64
}

// MarshalJSON writes the terms as the request has them. No limit is null there; here it
// has a name of its own, so that no account is without a limit because somebody has
// left a field out.
func (t AccountTerms) MarshalJSON() ([]byte, error) {
	terms := struct {
		Currency       string            `json:"currency"`
		OverdraftLimit *int64            `json:"overdraft_limit"`
		Name           string            `json:"name,omitempty"`
		Metadata       map[string]string `json:"metadata,omitempty"`
	}{t.Currency, &t.OverdraftLimit, t.Name, t.Metadata}
	if t.Unlimited {
		terms.OverdraftLimit = nil
	}
	return json.Marshal(terms)
}

// AccountStatus says whether an account takes payments.
type AccountStatus string

// The statuses of an account.
const (
	AccountOpen   AccountStatus = "open"
	AccountClosed AccountStatus = "closed"
)

// Account is one of the merchant's. Amounts are in its currency's minor unit.
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
	// moves with every edit, and not with payments
	Version int64 `json:"version"`
}

func (a *Account) complete() bool { return a.ID != "" }

// PutAccount makes an account under the id that the caller chooses, or sets the terms
// of the one that is there.
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

// AccountBalance is what an account's balance was at a time.
type AccountBalance struct {
	ID       string    `json:"id"`
	Currency string    `json:"currency"`
	Balance  int64     `json:"balance"`
	At       time.Time `json:"at"`
}

func (b *AccountBalance) complete() bool { return b.ID != "" && !b.At.IsZero() }

// BalanceAt reads what an account's balance was at a time, that moment included.
func (c *Client) BalanceAt(
	ctx context.Context, accountID string, at time.Time,
) (*AccountBalance, error) {
	r, err := newCall("reading a balance", http.MethodGet, "accounts", accountID)
	if err == nil {
		r.path += "?" + url.Values{"at": {at.UTC().Format(time.RFC3339Nano)}}.Encode()
	}
	return get[AccountBalance](ctx, c, r, err)
}

// CloseAccount closes an account, which has to be empty. Closing it again changes
// nothing.
func (c *Client) CloseAccount(ctx context.Context, accountID string) error {
	r, err := newCall("closing an account", http.MethodDelete, "accounts", accountID)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, r, nil)
	return err
}

// ListAccounts reads one page of the merchant's accounts, closed ones too, by id.
func (c *Client) ListAccounts(ctx context.Context, page PageRequest) (*Page[Account], error) {
	return list[Account](ctx, c, "listing accounts", nil, page, "accounts")
}

// Accounts reads all accounts of the merchant. After an error there are no more.
func (c *Client) Accounts(ctx context.Context) iter.Seq2[Account, error] {
	return all(func(page PageRequest) (*Page[Account], error) { return c.ListAccounts(ctx, page) })
}

// Entry is a line of an account's statement. Amounts are in the currency's minor unit.
type Entry struct {
	Sequence     int64     `json:"sequence"` // of the account's own, from 1, without a gap
	Amount       int64     `json:"amount"`   // negative: it left the account
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

// Entries reads all of an account's statement, newest first. After an error there are
// no more.
func (c *Client) Entries(ctx context.Context, accountID string) iter.Seq2[Entry, error] {
	return all(func(page PageRequest) (*Page[Entry], error) {
		return c.ListEntries(ctx, accountID, page)
	})
}
