package ledger

import (
	"errors"
	"math"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// Status of an account. A closed one takes part in no new payment.
type Status string

// The statuses that the schema knows.
const (
	StatusOpen   Status = "open"
	StatusClosed Status = "closed"
)

// Reasons for which an account is not read or not changed.
var (
	ErrAccountNotFound = errors.New("there is no such account")
	ErrInvalidID       = errors.New(
		"an account id is 1 to 64 of A-Z a-z 0-9 _ . : - and begins with a letter, a digit or _")
	ErrServiceAccount = errors.New(
		"ids that begin with " + serviceAccountPrefix + " are the service's own")
	ErrCurrencyFixed  = errors.New("an account's currency never changes")
	ErrOverdraftInUse = errors.New(
		"the account is further below zero than the new overdraft limit allows",
	)
	ErrAccountClosed   = errors.New(`the account is closed; "status":"open" opens it again`)
	ErrAccountNotEmpty = errors.New("the account has money, or payments from it or to it are open")
	ErrVersionMismatch = errors.New("the account has changed since the given version")
	ErrVersionRequired = errors.New(
		"opening an account requires If-Match with its ETag, so that no late request opens it")
	ErrNoVersion = errors.New("there is no such account, so If-Match cannot match")
	ErrNotYet    = errors.New("the moment has not come yet")
)

// nameLengthMax is the longest name of an account, in characters.
const nameLengthMax = 200

// accountIDForm is the form of an id that a caller chooses. The schema checks the same
// (accounts_id_form).
var accountIDForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$`)

// ValidAccountID tells whether id could name an account.
func ValidAccountID(id string) bool { return accountIDForm.MatchString(id) }

// Account is an account as its owner sees it.
type Account struct {
	Balance
	Name      string
	Metadata  map[string]string
	Version   int64 // moved by the owner's edits, never by a posting
	CreatedAt time.Time
}

// Terms are what an account's owner decides about it. Put replaces all of them.
type Terms struct {
	Currency       Currency
	Name           string
	Metadata       map[string]string
	OverdraftLimit *int64  // minor units; nil: unlimited
	Status         *Status // StatusOpen opens a closed account; nil: as it is
}

// check finds what is wrong with the terms by themselves. The schema knows the same
// limits.
func (t *Terms) check() error {
	var fields validate.Fields
	limit := t.OverdraftLimit
	RequireCurrency(&fields, t.Currency)
	fields.Require(limit == nil || *limit >= 0 && *limit <= AmountMax, "/overdraft_limit",
		"must be null or from 0 to 9007199254740991")
	fields.Require(utf8.RuneCountInString(t.Name) <= nameLengthMax, "/name",
		"must have at most 200 characters")
	fields.RequireNoCardNumber("/name", t.Name)
	fields.RequireMetadata(t.Metadata)
	fields.Require(t.Status == nil || *t.Status == StatusOpen, "/status",
		"must be open: DELETE closes an account")
	return fields.Err()
}

// RequireCurrency complains about a currency that no account can be in.
func RequireCurrency(fields *validate.Fields, currency Currency) {
	fields.Require(currency.Known(), "/currency",
		"must be an ISO 4217 code in upper case, for example USD")
}

// IfVersion is the version that an account or a payment must have for a change of it to
// be made, from 1 on, or one of the constants below. The SQL of Put and Close knows
// them: only 0 creates, and what is not above 0 asks for no version.
type IfVersion int64

// The conditions that name no version.
const (
	Unconditional IfVersion = 0             // whatever there is, or nothing
	AnyVersion    IfVersion = -1            // whatever there is
	NoVersion     IfVersion = math.MaxInt64 // never met
)

// Allows tells whether something that has the version may be changed.
func (c IfVersion) Allows(version int64) bool { return c <= 0 || version == int64(c) }

// checkOwner refuses an id that is malformed or not the caller's to change.
func checkOwner(ref Ref) error {
	switch {
	case !ValidAccountID(ref.AccountID):
		return ErrInvalidID
	case IsServiceAccount(ref.AccountID):
		return ErrServiceAccount
	}
	return nil
}

const accountColumns = `merchant_id, id, currency, status, overdraft_limit, balance, held,
	last_sequence, last_entry_at, name, metadata, version, created_at`

func scanAccount(row pgx.Row, a *Account, more ...any) error {
	var lastEntryAt *time.Time
	columns := []any{
		&a.MerchantID, &a.AccountID, &a.Currency, &a.Status, &a.OverdraftLimit, &a.Posted, &a.Held,
		&a.LastSequence, &lastEntryAt, &a.Name, &a.Metadata, &a.Version, &a.CreatedAt,
	}
	if err := row.Scan(append(columns, more...)...); err != nil {
		return err
	}
	a.LastEntryAt = orZero(lastEntryAt)
	return nil
}
