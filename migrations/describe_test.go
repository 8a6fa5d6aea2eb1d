package migrations_test

import (
	"slices"
	"testing"
)

// describe has a line for each relation, column, constraint, index, trigger, function,
// view, comment and grant of the schema. Unlike pg_dump it fits every server version.
func describe(t *testing.T, db querier) []string {
	t.Helper()
	return column[string](t, db, `
		WITH ours AS (
			SELECT oid, nspname, nspacl FROM pg_namespace WHERE nspname IN ('public', 'audit')
		), relations AS (
			SELECT c.oid, c.relkind, c.reloptions, c.relacl
			FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
		)
		SELECT format('schema %s, grants %s', nspname, nspacl) AS line
		FROM ours
		UNION ALL
		SELECT format('%s %s, options %s, grants %s, comment %s',
			relkind, oid::regclass, reloptions, relacl, obj_description(oid, 'pg_class'))
		FROM relations
		UNION ALL
		SELECT format('column %s.%s %s, collation %s, not null %s, default %s, grants %s,
			comment %s', attrelid::regclass, attname, format_type(atttypid, atttypmod),
			attcollation::regcollation, attnotnull, pg_get_expr(adbin, adrelid), attacl,
			col_description(attrelid, attnum))
		FROM pg_attribute
		LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid IN (SELECT oid FROM relations) AND attnum > 0 AND NOT attisdropped
		UNION ALL
		SELECT format('constraint %s of %s: %s',
			conname, conrelid::regclass, pg_get_constraintdef(oid))
		FROM pg_constraint
		WHERE conrelid IN (SELECT oid FROM relations)
		UNION ALL
		SELECT format('index %s', pg_get_indexdef(indexrelid))
		FROM pg_index
		WHERE indrelid IN (SELECT oid FROM relations)
		UNION ALL
		SELECT format('trigger %s, enabled %s', pg_get_triggerdef(oid), tgenabled)
		FROM pg_trigger
		WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
		UNION ALL
		SELECT format('function %s, grants %s', pg_get_functiondef(p.oid), proacl)
		FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
		UNION ALL
		SELECT format('view %s: %s', oid::regclass, pg_get_viewdef(oid))
		FROM relations
		WHERE relkind = 'v'
		ORDER BY line`)
}

// wantSame compares two descriptions.
func wantSame(t *testing.T, when string, got, want []string) {
	t.Helper()
	for _, line := range without(want, got) {
		t.Errorf("%s: missing: %s", when, line)
	}
	for _, line := range without(got, want) {
		t.Errorf("%s: left over: %s", when, line)
	}
}

func without(lines, others []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		return slices.Contains(others, line)
	})
}
