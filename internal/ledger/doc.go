// Package ledger keeps the books: accounts, their balances, and the journal entries
// that explain every balance.
//
// It is double-entry bookkeeping. Money moves by a [Journal], a set of signed lines
// that sum to zero. So money is never made or lost, only moved. Each line becomes an
// [Entry] of one account. Entries are numbered without a gap, and each carries the
// balance that it left, so every balance can be checked by adding up.
//
// The rules are pure. A [Book] holds the accounts that a transaction has locked.
// [Book.Post] applies a journal to it in memory or refuses it, and does no I/O. The SQL
// around it is in sql.go: lock the rows in one order, decide on the Book, write the
// entries and each account once. A whole batch of charges is decided on one Book. So a
// hundred debits of one account cost one row lock and one UPDATE, and those that no
// longer fit are declined alone.
//
// The schema checks again what the code promises. The database refuses an unbalanced
// journal, a changed entry, a balance outside its bounds, and a second entry with the
// same number (see migrations/000002_ledger.up.sql).
//
// [Accounts] is how owners create, read, close and open accounts. It moves no money.
package ledger
