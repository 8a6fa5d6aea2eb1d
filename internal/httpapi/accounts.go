package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// nameLengthMax is the longest name of an account, in characters.
const nameLengthMax = 200

// serviceAccountPrefix marks the accounts that the service itself keeps, such as a processor's clearing account.
const serviceAccountPrefix = "processor:"

// accountRequest is the body of PUT /accounts/{id}, which replaces the account's terms as a whole.
type accountRequest struct {
	Currency       *text           `json:"currency"`
	OverdraftLimit overdraftLimit  `json:"overdraft_limit"`
	Name           *text           `json:"name"`
	Metadata       map[string]text `json:"metadata"`
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
	id := pathID(r)
	if !ledger.ValidAccountID(id) {
		return &invalidRequest{detail: "an account id is 1 to 64 of A-Z a-z 0-9 _ . : - and begins with a letter, a digit or _"}
	}
	if err := refuseServiceAccount(id); err != nil {
		return err
	}
	var body accountRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	terms, err := body.terms()
	if err != nil {
		return err
	}
	condition, err := ifMatchOf(r)
	if err != nil {
		return err
	}
	ref := ledger.Ref{MerchantID: requestOf(r).identity.MerchantID, AccountID: id}
	account, created, err := a.Payments.PutAccount(r.Context(), ref, terms, condition)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/accounts/"+id)
	}
	return writeAccount(w, status, &account)
}

// refuseServiceAccount keeps callers from changing what the service keeps for itself.
func refuseServiceAccount(id string) error {
	if !strings.HasPrefix(id, serviceAccountPrefix) {
		return nil
	}
	return &payments.Refusal{
		Code: payments.CodeUnprocessable, Detail: "ids that begin with " + serviceAccountPrefix + " are the service's own",
	}
}

// terms checks and converts the body. The schema knows the same limits.
func (b *accountRequest) terms() (ledger.Terms, error) {
	if err := required(b.Currency, "/currency"); err != nil {
		return ledger.Terms{}, err
	}
	metadata, err := texts(b.Metadata)
	if err != nil {
		return ledger.Terms{}, err
	}
	terms := ledger.Terms{Currency: ledger.Currency(*b.Currency), Name: b.Name.value(), Metadata: metadata}
	if !b.OverdraftLimit.unlimited {
		minor := int64(b.OverdraftLimit.minor)
		terms.OverdraftLimit = &minor
	}
	if refusal := checkTerms(terms); refusal != nil {
		return ledger.Terms{}, refusal
	}
	return terms, nil
}

func checkTerms(terms ledger.Terms) *payments.Refusal {
	var complaints payments.Complaints
	complaints.RequireCurrency(terms.Currency)
	limit := terms.OverdraftLimit
	complaints.Require(limit == nil || *limit >= 0 && *limit <= ledger.AmountMax, "/overdraft_limit",
		"must be null or from 0 to 9007199254740991")
	complaints.Require(utf8.RuneCountInString(terms.Name) <= nameLengthMax, "/name",
		"must have at most 200 characters")
	complaints.RequireNoCardNumber("/name", terms.Name)
	complaints.RequireMetadata(terms.Metadata)
	return complaints.Refusal()
}

// ifMatchOf reads the condition of a request (RFC 9110, section 13.1.1).
func ifMatchOf(r *http.Request) (ledger.IfVersion, error) {
	values := r.Header["If-Match"]
	if len(values) == 0 {
		return ledger.Unconditional, nil
	}
	tag := strings.TrimSpace(strings.Join(values, ","))
	if tag == "*" {
		return ledger.AnyVersion, nil
	}
	version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if err != nil || version < 1 || tag != etag(version) {
		return 0, errPreconditionFailed // not a tag that the service has given out, so it cannot match
	}
	return ledger.IfVersion(version), nil
}

// deleteAccount closes an account. Nothing is deleted: its entries explain others' balances.
func (a *api) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	ref, err := accountOf(r)
	if err != nil {
		return err
	}
	if err := refuseServiceAccount(ref.AccountID); err != nil {
		return err
	}
	condition, err := ifMatchOf(r)
	if err != nil {
		return err
	}
	if err := a.Payments.CloseAccount(r.Context(), ref, condition); err != nil {
		return err
	}
	writeNoContent(w)
	return nil
}

// accountOf is the account that a request's path names. An id that no account can have is no account's.
func accountOf(r *http.Request) (ledger.Ref, error) {
	ref := ledger.Ref{MerchantID: requestOf(r).identity.MerchantID, AccountID: pathID(r)}
	if !ledger.ValidAccountID(ref.AccountID) {
		return ledger.Ref{}, ledger.ErrAccountNotFound
	}
	return ref, nil
}

func (a *api) getAccount(w http.ResponseWriter, r *http.Request) error {
	at, err := momentOf(r)
	if err != nil {
		return err
	}
	ref, err := accountOf(r)
	if err != nil {
		return err
	}
	account, err := ledger.Get(r.Context(), a.Accounts, ref)
	switch {
	case err != nil:
		return err
	case at != nil:
		return a.writeAccountAt(w, r, &account, *at)
	}
	return writeAccount(w, http.StatusOK, &account)
}

// momentOf reads the query ?at=, the moment whose balance is asked for; nil if it is today's.
func momentOf(r *http.Request) (*time.Time, error) {
	values, err := queryOf(r, "at")
	if err != nil {
		return nil, err
	}
	return moment(values, "at")
}

// accountAt is an account as it was. What was held then is not known, and so not what was available either.
type accountAt struct {
	ID       string          `json:"id"`
	Currency ledger.Currency `json:"currency"`
	Balance  int64           `json:"balance"`
	At       string          `json:"at"`
}

func (a *api) writeAccountAt(w http.ResponseWriter, r *http.Request, account *ledger.Account, at time.Time) error {
	balance, err := ledger.BalanceAt(r.Context(), a.Accounts, account.Ref, at)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, &accountAt{
		ID: account.AccountID, Currency: account.Currency, Balance: balance, At: at.UTC().Format(payments.TimeFormat),
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
	view := viewAccount(account)
	return writeJSON(w, status, &view)
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
