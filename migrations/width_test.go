package migrations_test

import (
	"slices"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A sequence of 32 bits ran out inside a trigger, and every write failed: GoCardless,
// April 2018. Here ids are UUIDs, money and counts have 64 bits, and there are no
// sequences.
func TestNothingThatGrowsHas32Bits(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	narrow := column[string](t, db.Pool, `
		SELECT format('%s.%s', attrelid::regclass, attname)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
			AND attnum > 0 AND NOT attisdropped
			AND format_type(atttypid, NULL)
				IN ('smallint', 'integer', 'real', 'double precision', 'money')
		UNION ALL
		SELECT relname::text FROM pg_class
		WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace
		ORDER BY 1`)
	want := []string{"idempotency_answers.status", "idempotency_keys.fingerprint_version"}
	if !slices.Equal(narrow, want) {
		t.Errorf("narrow are %v; only %v may be", narrow, want)
	}
}
