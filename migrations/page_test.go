package migrations_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

const (
	pagePath    = "../docs/schema.md"
	updatePage  = "make schema-docs"
	pageOpening = `# The schema

<!-- Drawn from a migrated database by a test: ` + updatePage + ` -->

The SQL that makes it is in [migrations](../migrations), with the reasons that are not here. An
amount is an integer in the minor unit of its currency. All data of a merchant has
` + "`merchant_id`" + ` first in every key.

`
)

// promise is what must be true of the books, and what keeps it so. Of several guards of
// one kind the important ones are named.
type promise struct {
	says    string
	refuses string // constraints and triggers, separated by spaces
	finds   string // a view of the audit
	keptBy  string // code: a path from the root of the repository
}

var promises = []promise{
	{
		"One key makes one payment or one refund, however often and wherever it is sent.",
		"idempotency_keys_pkey payments_claimed_by_key " +
			"refunds_claimed_by_key refunds_one_per_key",
		"i5_one_payment_per_key", "",
	},
	{
		"A claimed key is never lost, changed or given to another payment.",
		"idempotency_keys_kept idempotency_keys_immutable", "", "",
	},
	{
		"One reference has one live payment.",
		"payment_references_pkey", "i5_one_payment_per_key", "",
	},
	{
		"A journal has two or more entries, which sum to zero in each currency.",
		"entries_balanced entries_amount_not_zero", "i1_journals_balance", "",
	},
	{"An entry is never changed or deleted.", "entries_immutable", "", ""},
	{
		"No two writers of one balance overwrite each other.",
		"entries_pkey", "i2_balances_match_entries", "",
	},
	{
		"A balance is the sum of its entries, whose chain has no gap.",
		"", "i2_balances_match_entries", "",
	},
	{
		"The entries of a payment move what was captured less what was refunded.",
		"", "i3_payments_are_posted", "",
	},
	{
		"An entry belongs to a payment and an account of the same merchant and currency.",
		"", "i4_no_orphans", "",
	},
	{
		"No balance is below its floor, and held money counts as spent.",
		"accounts_balance_above_floor", "i7_caps_and_floors", "",
	},
	{
		"Every JSON reader has a balance exactly: it is within 2^53 - 1.",
		"accounts_balance_range accounts_held_range entries_balance_after_range",
		"i7_caps_and_floors", "",
	},
	{
		"What an account holds is what its authorized payments will take.",
		"accounts_held_for_open_payments", "i7_caps_and_floors", "",
	},
	{
		"No more is captured than authorized, and no more refunded than captured.",
		"payments_captured_within_amount " +
			"payments_refunded_within_captured",
		"i7_caps_and_floors", "",
	},
	{
		"A payment moves only along its [states](payment-states.md), and is captured once.",
		"payments_transition_legal", "i12_transitions_are_legal", "",
	},
	{
		"A closed account has no open payment.",
		"accounts_closed_has_nothing_open", "", "",
	},
	{
		"An account is closed and opened under a new version only.",
		"accounts_status_has_new_version", "", "",
	},
	{"A closed account takes no new payment.", "", "", "internal/payments"},
	{
		"Only final answers are stored.",
		"idempotency_answers_status_final", "i6_answers_tell_the_truth", "",
	},
	{
		"A key whose request is at a card processor is never taken for one whose answer has " +
			"expired.",
		"idempotency_pending_pkey", "i9_no_attempt_is_abandoned", "",
	},
	{
		"What is at a card processor has an attempt that an instance or a person works on.",
		"", "i9_no_attempt_is_abandoned", "",
	},
	{
		"An attempt at a card processor is settled once, and goes forward only.",
		"processor_attempts_go_forward refunds_end_once", "i10_an_event_has_one_effect", "",
	},
	{
		"One request at a time asks the processor to end an authorization.",
		"processor_attempts_one_at_a_time", "", "",
	},
	{
		"An event of the processor has one effect.", "idempotency_keys_pkey",
		"i10_an_event_has_one_effect", "",
	},
	{"A stored answer says what its payment says.", "", "i6_answers_tell_the_truth", ""},
	{"A change of state has exactly one event.", "", "i8_one_event_per_change", ""},
	{
		"An event goes to every webhook endpoint that subscribes to it.",
		"", "i8_every_event_is_delivered", "",
	},
	{
		"A key is answered, and an authorization does not outlive its end.",
		"", "i9_nothing_is_stuck", "",
	},
	{"A retry gets the first answer, byte for byte.", "", "", "internal/idempotency/record.go"},
	{"A payment that was acknowledged is durable.", "", "", "internal/postgres/commit.go"},
	{
		"Rows are locked in one order, so that transactions do not deadlock.",
		"", "", "internal/payments",
	},
}

func TestSchemaPage(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var page strings.Builder
	page.WriteString(pageOpening)
	writePromises(&page)
	writeTables(t, db, &page)
	page.WriteString("## What the audit looks for\n\n`paymentsvc audit` reads these views of the" +
		" schema `audit`. A row is a violation.\n\n| view | promise |\n|---|---|\n")
	for _, view := range auditViews(t, db) {
		fmt.Fprintf(&page, "| `%s` | %s |\n", view.name, view.comment)
	}
	wantFile(t, pagePath, page.String(), updatePage)
}

func writePromises(page *strings.Builder) {
	page.WriteString("## What keeps each promise\n\n" +
		"Where one row or one statement shows the violation, the database refuses it. Where\n" +
		"many rows show it, the audit finds it. The last column is what neither of them can " +
		"see.\n\n" +
		"| promise | the database refuses | the audit finds | the code alone keeps it |\n" +
		"|---|---|---|---|\n")
	for _, p := range promises {
		code := ""
		if p.keptBy != "" {
			code = fmt.Sprintf("[%[1]s](../%[1]s)", p.keptBy)
		}
		fmt.Fprintf(page, "| %s | %s | %s | %s |\n",
			p.says, quoted(p.refuses), quoted(p.finds), code)
	}
}

func quoted(names string) string {
	if names == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(names, " ", "`, `") + "`"
}

func writeTables(t *testing.T, db *pgtest.DB, page *strings.Builder) {
	guards := guardsOf(t, db)
	page.WriteString("\n## Tables\n")
	for _, table := range tables(t, db) {
		fmt.Fprintf(page, "\n### %s\n\n%s\n\n| column | type | meaning |\n|---|---|---|\n",
			table.name, table.comment)
		for _, column := range column[string](t, db.Pool, `
			SELECT format('| %s | %s%s | %s |', attname, format_type(atttypid, atttypmod),
				CASE WHEN attnotnull THEN '' ELSE ' or null' END,
				coalesce(col_description(attrelid, attnum), ''))
			FROM pg_attribute
			WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
			ORDER BY attnum`, table.name) {
			fmt.Fprintln(page, column)
		}
		page.WriteString("\n")
		for _, guard := range guards {
			if rest, ours := strings.CutPrefix(guard, table.name+"."); ours {
				name, definition, _ := strings.Cut(rest, ": ")
				fmt.Fprintf(page, "- `%s`: %s\n", name, readable(definition))
			}
		}
	}
	page.WriteString("\n")
}

// readable leaves out the casts that Postgres prints.
func readable(definition string) string {
	definition = regexp.MustCompile(`::(text|bigint)(\[\])?`).ReplaceAllString(definition, "")
	return "`" + definition + "`"
}

type described struct{ name, comment string }

func tables(t *testing.T, db *pgtest.DB) []described {
	return relations(t, db, `public`, `r`, `oid`) // in the order in which they were made
}

func auditViews(t *testing.T, db *pgtest.DB) []described {
	return relations(t, db, `audit`, `v`, `substring(relname FROM '[0-9]+')::int`)
}

// relations are the tables or views of a schema, with their comments.
func relations(t *testing.T, db *pgtest.DB, schema, kind, order string) []described {
	t.Helper()
	var found []described
	for _, line := range column[string](t, db.Pool, `
		SELECT relname || ': ' || coalesce(obj_description(oid, 'pg_class'), '')
		FROM pg_class
		WHERE relnamespace = $1::regnamespace AND relkind = $2
		ORDER BY `+order, schema, kind) {
		name, comment, _ := strings.Cut(line, ": ")
		found = append(found, described{name, strings.TrimSpace(comment)})
	}
	return found
}

// What the page claims to keep a promise is there.
func TestEveryKeeperOfAPromiseExists(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var refusing, finding []string
	for _, guard := range guardsOf(t, db) {
		name, _, _ := strings.Cut(guard, ": ")
		_, object, _ := strings.Cut(name, ".")
		refusing = append(refusing, object)
	}
	for _, view := range auditViews(t, db) {
		finding = append(finding, view.name)
	}
	var named []string
	for _, p := range promises {
		for name := range strings.FieldsSeq(p.refuses) {
			if !slices.Contains(refusing, name) {
				t.Errorf("%s: there is no constraint or trigger %s", p.says, name)
			}
		}
		if p.finds != "" && !slices.Contains(finding, p.finds) {
			t.Errorf("%s: there is no view %s", p.says, p.finds)
		}
		named = append(named, p.finds)
		if p.keptBy+p.refuses+p.finds == "" {
			t.Errorf("%s: nothing keeps it", p.says)
		}
		if _, err := os.Stat("../" + p.keptBy); err != nil {
			t.Errorf("%s: %v", p.says, err)
		}
	}
	for _, view := range finding {
		if !slices.Contains(named, view) {
			t.Errorf("the page has no promise for the view %s", view)
		}
	}
	for _, table := range tables(t, db) {
		if table.comment == "" {
			t.Errorf("the table %s does not say why it exists", table.name)
		}
	}
}
