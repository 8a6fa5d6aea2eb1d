package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// testCard is a number that processors give out for tests, and testCardInGroups how it
// is printed.
const (
	testCard         = "4111111111111111"
	testCardInGroups = "4111 1111-1111 1111"
)

// Package cardnumber tests the form of a card number.
func TestACardNumberInFreeTextIsRefusedAndKeptNowhere(t *testing.T) {
	m := onOneInstance(t)
	for _, card := range []string{testCard, testCardInGroups} {
		text := "call " + card + ", valid thru 12/27"
		pair := func(name, value string) map[string]string {
			return map[string]string{name: value}
		}
		for name, charge := range map[string]body{
			"/description":      aliceToShop(1).with("description", text),
			"/metadata":         aliceToShop(1).with("metadata", pair("note", text)),
			"/metadata (names)": aliceToShop(1).with("metadata", pair(card, "x")),
			"/payment_method": aliceToShop(1).without("source_account").with("payment_method",
				card),
		} {
			pointer, _, _ := strings.Cut(name, " ")
			m.charge("k", charge).wantProblem(refused).wantErrorAt(pointer)
		}
		for pointer, terms := range map[string]body{
			"/name":     {"currency": "USD", "name": text},
			"/metadata": {"currency": "USD", "metadata": pair("note", text)},
		} {
			m.put("bob", terms.String()).wantProblem(refused).wantErrorAt(pointer)
			m.put("alice", terms.String()).wantProblem(refused)
		}
		m.wantNowhere(card)
	}
	m.get("/accounts/bob").want(404)
	m.wantPayments(0)
	// Keys, references and ids are the caller's names for things, and many are numbers.
	m.put(testCard, `{"currency":"USD"}`).want(201)
	order := aliceToShop(1).with("destination_account", testCard).
		with("reference", testCardInGroups).with("description", "order 4111111111111112")
	m.charge(testCard, order).want(201)
	if m.first.Log.Count(testCard)+m.first.Log.Count(testCardInGroups) > 0 {
		t.Error("a name that looks like a card number was logged")
	}
}

// wantNowhere looks for a text in every table and in the instances' logs.
func (m *merchant) wantNowhere(text string) {
	m.t.Helper()
	ctx := m.t.Context()
	rows, err := m.db.Pool.Query(ctx, `
		SELECT format('%I.%I', table_schema, table_name),
			format('CAST(%I AS ', column_name)
				|| CASE data_type WHEN 'bytea' THEN 'bytea)' ELSE 'text)' END,
			data_type = 'bytea'
		FROM information_schema.columns
		JOIN information_schema.tables USING (table_schema, table_name)
		WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`)
	if err != nil {
		m.t.Fatal(err)
	}
	var questions []string
	var table, column string
	var binary bool
	if _, err := pgx.ForEachRow(rows, []any{&table, &column, &binary}, func() error {
		what := "$1"
		if binary {
			what = "convert_to($1, 'UTF8')"
		}
		questions = append(questions,
			fmt.Sprintf(`SELECT count(*) FROM %s WHERE position(%s IN %s) > 0`, table, what,
				column))
		return nil
	}); err != nil {
		m.t.Fatal(err)
	}
	if len(questions) < 50 {
		m.t.Fatalf("only %d columns were found to look at", len(questions))
	}
	for _, question := range questions {
		m.wantCount(0, question, text)
	}
	if m.first.Log.Count(text) > 0 {
		m.t.Errorf("%q was logged", text)
	}
}
