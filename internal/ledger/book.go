package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// Reasons for which a journal is refused. Nothing has been changed when one of them is
// returned.
var (
	ErrInsufficientFunds = errors.New("insufficient funds")
	ErrBalanceTooLarge   = errors.New("balance or amount held would exceed ±9007199254740991")
	ErrUnbalanced        = errors.New(
		"journal is not two or more different accounts' lines that sum to zero",
	)
	ErrNotLocked        = errors.New("account is not among the locked ones")
	ErrCurrencyMismatch = errors.New("account is in another currency")
)

// Ref names one account of one merchant.
type Ref struct {
	MerchantID int64
	AccountID  string
}

// Balance is the columns of an account that a posting reads or moves.
type Balance struct {
	Ref
	Currency       Currency
	Status         Status
	OverdraftLimit *int64 // minor units below zero that are allowed; nil: no limit
	Posted         int64  // the sum of the account's entries, in minor units
	Held           int64  // set aside by authorizations, in minor units
	OpenPayments   int64  // authorized ones, from it or to it: until they end it cannot be closed
	LastSequence   int64  // of its last entry; 0: none yet
	LastEntryAt    time.Time

	row pgtype.TID // where the locked row is
}

// Available is what the account can pay, in minor units: posted − held + overdraft
// limit; nil if there is no limit. It is never negative, because the schema keeps
// posted − held ≥ −limit. It is at most AmountMax, which is enough for every payment.
func (b *Balance) Available() *int64 {
	if b.OverdraftLimit == nil {
		return nil
	}
	available := min(b.Posted-b.Held+*b.OverdraftLimit, AmountMax)
	return &available
}

// Covers tells whether the account can pay that many minor units now.
func (b *Balance) Covers(minor int64) bool {
	available := b.Available()
	return available == nil || *available >= minor
}

// Journal is one movement of money for one payment. Its lines sum to zero.
type Journal struct {
	MerchantID int64
	ID         uuid.UUID
	PaymentID  uuid.UUID
	Currency   Currency
	Lines      []Line
}

// Line is one account's side of a journal: a negative amount leaves the account.
type Line struct {
	AccountID string
	Minor     int64
}

// Entry is a line after it was posted: the Sequence-th entry of its account, which left
// the account with BalanceAfter.
type Entry struct {
	Ref
	Sequence     int64
	JournalID    uuid.UUID
	PaymentID    uuid.UUID
	Currency     Currency
	Minor        int64
	BalanceAfter int64
}

// Book is the accounts that one transaction holds locked, in the state that its
// decisions so far have left them in, and the entries that they made. It belongs to
// that transaction's goroutine.
type Book struct {
	balances map[Ref]*Balance
	changed  map[Ref]*Balance // each is written back once, however many entries and holds it got
	entries  []Entry
}

// NewBook opens a book on the locked accounts.
func NewBook(locked ...Balance) *Book {
	book := newBook(len(locked))
	for _, balance := range locked {
		book.add(balance)
	}
	return book
}

func newBook(size int) *Book {
	return &Book{
		balances: make(map[Ref]*Balance, size),
		changed:  make(map[Ref]*Balance, size),
		entries:  make([]Entry, 0, size),
	}
}

func (b *Book) add(balance Balance) { b.balances[balance.Ref] = &balance }

// Account returns a locked account as it stands now, or false if the merchant has no
// such account.
func (b *Book) Account(ref Ref) (Balance, bool) {
	account, ok := b.balances[ref]
	if !ok {
		return Balance{}, false
	}
	return *account, true
}

// LastEntryAt is the time of the latest entry of any locked account. The transaction's
// timestamp must not be earlier, or an account's history would run backwards after a
// clock was set back.
func (b *Book) LastEntryAt() time.Time {
	var latest time.Time
	for _, account := range b.balances {
		if account.LastEntryAt.After(latest) {
			latest = account.LastEntryAt
		}
	}
	return latest
}

// Post applies a journal: either all of its lines, or none and the reason.
func (b *Book) Post(journal Journal) error {
	if err := b.Check(journal); err != nil {
		return err
	}
	for _, line := range journal.Lines {
		account := b.balances[Ref{journal.MerchantID, line.AccountID}]
		account.Posted += line.Minor
		account.LastSequence++
		b.changed[account.Ref] = account
		b.entries = append(b.entries, Entry{
			Ref:          account.Ref,
			Sequence:     account.LastSequence,
			JournalID:    journal.ID,
			PaymentID:    journal.PaymentID,
			Currency:     journal.Currency,
			Minor:        line.Minor,
			BalanceAfter: account.Posted,
		})
	}
	return nil
}

// Hold is money of one account that is set aside for another, by an authorization.
type Hold struct {
	MerchantID  int64
	Currency    Currency
	Minor       int64
	Source      string
	Destination string
}

// Place sets the money aside: it stays on the source's balance, and is no longer
// available. An error means that nothing was done.
func (b *Book) Place(h Hold) error {
	source, destination := b.sidesOf(h)
	switch {
	case source == nil || destination == nil:
		return fmt.Errorf("holding from %s for %s: %w", h.Source, h.Destination, ErrNotLocked)
	case source.Currency != h.Currency || destination.Currency != h.Currency:
		return fmt.Errorf("holding from %s for %s: %w", h.Source, h.Destination,
			ErrCurrencyMismatch)
	case !source.Covers(h.Minor):
		return ErrInsufficientFunds
	case !fits(source.Held + h.Minor):
		return ErrBalanceTooLarge
	}
	b.move(source, destination, h.Minor, 1)
	return nil
}

// Release makes the money available again. It panics if the hold was not placed, now or
// by an earlier transaction.
func (b *Book) Release(h Hold) {
	source, destination := b.sidesOf(h)
	if source.Held < h.Minor || source.OpenPayments < 1 || destination.OpenPayments < 1 {
		panic(fmt.Sprintf("releasing a hold of %d that was not placed", h.Minor))
	}
	b.move(source, destination, -h.Minor, -1)
}

func (b *Book) sidesOf(h Hold) (source, destination *Balance) {
	return b.balances[Ref{h.MerchantID, h.Source}], b.balances[Ref{h.MerchantID, h.Destination}]
}

func (b *Book) move(source, destination *Balance, held, open int64) {
	source.Held += held
	for _, account := range []*Balance{source, destination} {
		account.OpenPayments += open
		b.changed[account.Ref] = account
	}
}

// Check refuses what Post must not apply. It changes nothing.
func (b *Book) Check(journal Journal) error {
	var total int64
	seen := make(map[string]bool, len(journal.Lines))
	for _, line := range journal.Lines {
		account, ok := b.balances[Ref{journal.MerchantID, line.AccountID}]
		switch {
		case !ok:
			return fmt.Errorf("posting to account %s: %w", line.AccountID, ErrNotLocked)
		case account.Currency != journal.Currency:
			return fmt.Errorf("posting %s to account %s: %w", journal.Currency, line.AccountID,
				ErrCurrencyMismatch)
		case line.Minor == 0, seen[line.AccountID]:
			return fmt.Errorf("posting to account %s: %w", line.AccountID, ErrUnbalanced)
		case line.Minor < 0 && !account.Covers(-line.Minor):
			return ErrInsufficientFunds
		case !fits(line.Minor), !fits(account.Posted + line.Minor):
			return ErrBalanceTooLarge
		}
		seen[line.AccountID] = true
		total += line.Minor
	}
	if total != 0 || len(journal.Lines) < 2 {
		return ErrUnbalanced
	}
	return nil
}
