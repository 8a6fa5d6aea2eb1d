// Package unnest turns rows into the arrays that Postgres's unnest takes. A statement
// that handles any number of rows at once takes one array for each column:
//
//	INSERT INTO t (a, b)
//	SELECT r.a, r.b FROM unnest($1::bigint[], $2::text[]) AS r (a, b)
//
// So a batch of one row and a batch of five hundred are the same statement, in one
// round trip.
//
// To read rows of a table t, such a statement looks up each one by its whole key:
//
//	FROM unnest(…) AS wanted (merchant_id, id)
//	CROSS JOIN LATERAL (
//		SELECT t.c FROM t
//		WHERE t.merchant_id = coalesce($3, wanted.merchant_id) AND t.id = wanted.id
//		OFFSET 0) AS t
//
// OFFSET 0 (or a locking clause) keeps the planner from making this an ordinary join. A
// join can also be executed as a scan of all of the merchant's rows. The planner prefers
// that while the table is small, and the cached plan stays when the table has grown. An
// UPDATE or DELETE finds its rows by the ctid of such a look-up. No other transaction
// can change the rows then: they are locked, new, or references of locked payments.
package unnest

// Column is one column of the rows: what value reads from each of them. UUIDs should be
// read as [16]byte, which pgx encodes without a detour through text.
func Column[Row, Value any](rows []Row, value func(Row) Value) []Value {
	column := make([]Value, len(rows))
	for i, row := range rows {
		column[i] = value(row)
	}
	return column
}

// Shared is the value that all rows have; nil if they differ. The look-ups above say it:
//
//	t.merchant_id = coalesce($3, wanted.merchant_id)
//
// In a database that is distributed by merchant, the planner sends a statement to one
// node only if it knows the merchant. Elsewhere this changes no plan.
func Shared[Row any, Value comparable](rows []Row, value func(Row) Value) *Value {
	if len(rows) == 0 {
		return nil
	}
	shared := value(rows[0])
	for _, row := range rows[1:] {
		if value(row) != shared {
			return nil
		}
	}
	return &shared
}

// Nullable is nil for the zero value, which Go has where a column has NULL.
func Nullable[Value comparable](value Value) *Value {
	var zero Value
	if value == zero {
		return nil
	}
	return &value
}
