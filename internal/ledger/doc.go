// Package ledger keeps the books: accounts, their balances, and the journal entries that explain every balance.
//
// It is double-entry bookkeeping. Money moves by a [Journal], a set of signed lines that sum to zero, so money is never
// made or lost, only moved. Each line becomes an [Entry] of one account, numbered without a gap, which carries the
// balance that it left: whoever doubts a balance can add the entries up.
//
// The rules are pure. A [Book] holds the accounts that a transaction has locked; [Book.Post] applies a journal to it in
// memory or refuses it, and does no I/O. The SQL around it is in sql.go: lock the rows in one order, decide on the
// Book, write the entries and each account once. Because a whole batch of charges is decided on one Book, a hundred
// debits of one account cost one row lock and one UPDATE, and the ones that no longer fit are refused alone.
//
// What the code promises the schema checks again: an unbalanced journal, a changed entry, a balance below its floor and
// a second entry with the same number are refused by the database (see migrations/000002_ledger.up.sql).
package ledger
