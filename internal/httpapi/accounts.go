package httpapi

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// accountRequest is the body of PUT /accounts/{id}. It replaces all terms of the account.
type accountRequest struct {
	Currency       *text           `json:"currency"`
	OverdraftLimit overdraftLimit  `json:"overdraft_limit"`
	Name           *text           `json:"name"`
	Metadata       map[string]text `json:"metadata"`
	Status         *text           `json:"status"`
}

// overdraftLimit is absent (0), null (unlimited) or an amount in minor units.
type overdraftLimit struct {
	unlimited bool
	minor     integer
}

func (o *overdraftLimit) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		o.unlimited = true
		return dec.SkipValue()
	}
	return o.minor.UnmarshalJSONFrom(dec)
}

func (a *api) putAccount(w http.ResponseWriter, r *http.Request) error {
	var body accountRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	terms, err := body.terms()
	if err != nil {
		return err
	}
	ref := accountOf(r)
	condition, err := a.accountCondition(r)
	if err != nil {
		return err
	}
	account, created, err := a.Accounts.Put(r.Context(), ref, terms, condition)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/accounts/"+ref.AccountID)
	}
	return writeAccount(w, status, &account)
}

func (b *accountRequest) terms() (ledger.Terms, error) {
	if err := required(b.Currency, "/currency"); err != nil {
		return ledger.Terms{}, err
	}
	metadata, err := texts(b.Metadata)
	if err != nil {
		return ledger.Terms{}, err
	}
	terms := ledger.Terms{
		Currency: ledger.Currency(*b.Currency), Name: b.Name.value(), Metadata: metadata,
		Status: (*ledger.Status)(b.Status),
	}
	if !b.OverdraftLimit.unlimited {
		minor := int64(b.OverdraftLimit.minor)
		terms.OverdraftLimit = &minor
	}
	return terms, nil
}

// deleteAccount closes an account.
func (a *api) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	condition, err := a.accountCondition(r)
	if err != nil {
		return err
	}
	if err := a.Accounts.Close(r.Context(), accountOf(r), condition); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// accountCondition is the If-Match of a request on an account.
func (a *api) accountCondition(r *http.Request) (ledger.IfVersion, error) {
	return ifMatchOf(r, func() (int64, error) {
		account, err := a.Accounts.Get(r.Context(), accountOf(r))
		return account.Version, err
	})
}

// accountOf is the account in a request's path.
func accountOf(r *http.Request) ledger.Ref {
	return ledger.Ref{
		MerchantID: requestOf(r).identity.MerchantID, AccountID: pathParameter(r, "id"),
	}
}

func (a *api) getAccount(w http.ResponseWriter, r *http.Request) error {
	query, err := queryOf(r, "at")
	if err != nil {
		return err
	}
	at, err := timeOf(query, "at")
	if err != nil {
		return err
	}
	account, err := a.Accounts.Get(r.Context(), accountOf(r))
	switch {
	case err != nil:
		return err
	case at != nil:
		return a.writeAccountAt(w, r, &account, *at)
	}
	return writeAccount(w, http.StatusOK, &account)
}

// accountAt is an account's balance at an earlier time. The amounts held and available
// at that time are not stored.
type accountAt struct {
	ID       string          `json:"id"`
	Currency ledger.Currency `json:"currency"`
	Balance  int64           `json:"balance"`
	At       string          `json:"at"`
}

func (a *api) writeAccountAt(
	w http.ResponseWriter, r *http.Request, account *ledger.Account, at time.Time,
) error {
	balance, err := a.Accounts.BalanceAt(r.Context(), account.Ref, at)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, &accountAt{
		ID: account.AccountID, Currency: account.Currency, Balance: balance,
		At: at.UTC().Format(payments.TimeFormat),
	})
}

type accountJSON struct {
	ID             string            `json:"id"`
	Currency       string            `json:"currency"`
	Balance        int64             `json:"balance"`
	Held           int64             `json:"held"`
	Available      *int64            `json:"available"`       // null: unlimited
	OverdraftLimit *int64            `json:"overdraft_limit"` // null: unlimited
	Status         ledger.Status     `json:"status"`
	Name           string            `json:"name"`
	Metadata       map[string]string `json:"metadata"`
	CreatedAt      string            `json:"created_at"`
	Version        int64             `json:"version"`
}

func writeAccount(w http.ResponseWriter, status int, account *ledger.Account) error {
	w.Header().Set("ETag", etag(account.Version))
	return writeJSON(w, status, viewAccount(account))
}

func viewAccount(account *ledger.Account) accountJSON {
	return accountJSON{
		ID:             account.AccountID,
		Currency:       string(account.Currency),
		Balance:        account.Posted,
		Held:           account.Held,
		Available:      account.Available(),
		OverdraftLimit: account.OverdraftLimit,
		Status:         account.Status,
		Name:           account.Name,
		Metadata:       account.Metadata,
		CreatedAt:      account.CreatedAt.UTC().Format(payments.TimeFormat),
		Version:        account.Version,
	}
}
