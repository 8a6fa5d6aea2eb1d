package postgres_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// 0 stands for all merchants.
func TestEachMerchantHasItsTurnDespiteErrors(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	errFirst := errors.New("the first fails")
	for _, test := range []struct {
		sharded bool
		want    []int64
		message string
	}{
		{false, []int64{0}, "the first fails"},
		{true, []int64{7, 8, 9}, "merchant 7: the first fails"},
	} {
		var called []int64
		err := postgres.EachMerchant(t.Context(), db.Pool, test.sharded,
			`SELECT generate_series($1::bigint, 9)`, []any{7}, func(merchantID *int64) error {
				if merchantID == nil {
					merchantID = new(int64)
				}
				called = append(called, *merchantID)
				if len(called) == 1 {
					return errFirst
				}
				return nil
			})
		if !slices.Equal(called, test.want) {
			t.Errorf("sharded %t: called for %v, want %v", test.sharded, called, test.want)
		}
		if !errors.Is(err, errFirst) || err.Error() != test.message {
			t.Errorf("sharded %t: %v, want %q", test.sharded, err, test.message)
		}
	}
}

func TestRowsAreSplitByMerchantInShardedModeOnly(t *testing.T) {
	t.Parallel()
	rows := []int64{11, 21, 12, 31, 22} // the merchant is the tens digit
	merchant := func(row int64) int64 { return row / 10 }
	for sharded, want := range map[bool][][]int64{
		false: {rows},
		true:  {{11, 12}, {21, 22}, {31}},
	} {
		got := postgres.ByMerchant(sharded, rows, merchant)
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("sharded %t: %v, want %v", sharded, got, want)
		}
	}
}

// These functions may not be in an UPDATE or DELETE: Citus refuses the volatile ones, and
// calls the others on the wrong server.
var (
	changes   = regexp.MustCompile(`(?s)\bUPDATE\s+\w+.*\bSET\b|\bDELETE\s+FROM\b`)
	forbidden = regexp.MustCompile(
		`clock_timestamp|gen_random_uuid|\brandom\(|pg_current_xact_id|pg_snapshot_xm`)
)

// local are tables that are not distributed.
var local = regexp.MustCompile(`\b(processor_installation|idempotency_reaper)\b`)

// The test reads each string by itself. It does not see a function in a constant that a
// statement is put together from, such as hasEvents in package outbox.
func TestChangesCallNoFunctionThatCitusRefuses(t *testing.T) {
	t.Parallel()
	seen := 0
	for where, sql := range statements(t) {
		if !changes.MatchString(sql) || local.MatchString(sql) {
			continue
		}
		seen++
		if name := forbidden.FindString(sql); name != "" {
			t.Errorf("%s: a statement that changes rows calls %s", where, name)
		}
	}
	if seen < 20 {
		t.Errorf("only %d statements were found", seen)
	}
}

// ownColumn is a condition of this form on the same table t, as it searches rows of one
// merchant or of all:
//
//	t.merchant_id = coalesce($1, t.merchant_id)
//
// Without a merchant, Postgres expects it of one row in 200. Then it prefers to read and
// sort all rows to reading the first ones along an index. It does no harm beside a ctid.
var ownColumn = regexp.MustCompile(
	`(\w*\.?)merchant_id = coalesce\(\$\d+, (\w*\.?)merchant_id\)(\s+AND \w*\.?ctid )?`)

func TestSearchesOfAllMerchantsHaveNoConditionOnThem(t *testing.T) {
	t.Parallel()
	seen := 0
	for where, sql := range statements(t) {
		for _, found := range ownColumn.FindAllStringSubmatch(sql, -1) {
			seen++
			if found[1] == found[2] && found[3] == "" {
				t.Errorf("%s: %s, want ($1::bigint IS NULL OR %smerchant_id = $1)", where,
					found[0], found[1])
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d conditions were found", seen)
	}
}

// statements are the texts of the service that may be SQL, by their places.
func statements(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || strings.HasSuffix(path, "_test.go"):
			return err
		case strings.HasSuffix(path, ".sql"):
			content, err := os.ReadFile(path)
			texts[path] = string(content)
			return err
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if text, ok := node.(*ast.BasicLit); ok && text.Kind == token.STRING {
				texts[files.Position(text.Pos()).String()] = text.Value
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// What was not done is not reported as done.
func TestEachMerchantEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := postgres.EachMerchant(ctx, db.Pool, true, `SELECT generate_series(1, 3)::bigint`, nil,
		func(*int64) error {
			calls++
			cancel()
			return nil
		})
	if calls != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d calls, %v", calls, err)
	}
}
