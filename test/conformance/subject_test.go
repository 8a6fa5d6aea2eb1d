package conformance

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The flags are described in doc.go. Credentials may come by the environment too, where
// `ps` does not show them.
var (
	urlFlag = flag.String("url", "",
		"address of the service; without it the suite starts its own")
	otherURLFlag = flag.String("other-url", "",
		"address of a second instance on the same database")
	apiKeyFlag = flag.String("api-key", os.Getenv("CONFORMANCE_API_KEY"),
		"API key of a merchant")
	otherAPIKeyFlag = flag.String("other-api-key", os.Getenv("CONFORMANCE_OTHER_API_KEY"),
		"API key of another merchant, for row 11")
	rowsFlag = flag.String("rows", "",
		"rows to run, for example 1,2,4-7,9a; all that can be shown if empty")
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// subject is a service that is held to the contract.
type subject struct {
	name    string
	service service
	has     rows // a part of the contract; nil: all of it
	asked   rows // to be shown; nil: every row that can be
	// They start the service, or another like it, where the suite chooses and in
	// processes. Nil: it runs somewhere already.
	start, startProcesses func(*testing.T) service
}

// subjects are the service that was named, or those that the suite starts itself.
func subjects(t *testing.T) []*subject {
	t.Helper()
	asked, err := parseRows(*rowsFlag)
	if err != nil {
		t.Fatalf("-rows: %v", err)
	}
	if *urlFlag == "" {
		if *otherURLFlag != "" {
			t.Fatal("-other-url is the second instance of a service whose first is -url")
		}
		return ownSubjects(t, asked)
	}
	return []*subject{{name: "given", asked: asked, service: service{
		first:       strings.TrimRight(*urlFlag, "/"),
		other:       strings.TrimRight(cmp.Or(*otherURLFlag, *urlFlag), "/"),
		apiKey:      *apiKeyFlag,
		otherAPIKey: *otherAPIKeyFlag,
	}}}
}

// rows are ids and numbers of rows.
type rows map[string]bool

// include tells whether the row is meant, by its id or its number.
func (r rows) include(id string) bool { return r == nil || r[id] || r[number(id)] }

// parseRows reads a list of ids, numbers and ranges of numbers. An empty list is nil.
func parseRows(list string) (rows, error) {
	if list == "" {
		return nil, nil
	}
	known := rows{}
	for _, r := range contract {
		known[r.id], known[number(r.id)] = true, true
	}
	chosen := rows{}
	for item := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(item), "-")
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		switch {
		case !ranged && known[from]:
			chosen[from] = true
		case ranged && err1 == nil && err2 == nil && first <= last:
			for n := first; n <= last; n++ {
				// those among them that are not here are in the report
				chosen[fmt.Sprint(n)] = true
			}
		default:
			return nil, fmt.Errorf("%q is no row that can be run here, and no range of rows", item)
		}
	}
	return chosen, nil
}

func TestRowsAreChosenByNameNumberAndRange(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]rows{
		"":             nil,
		"1":            {"1": true},
		"5a, 7, 11-13": {"5a": true, "7": true, "11": true, "12": true, "13": true},
	} {
		if got, err := parseRows(list); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q is %v (%v), want %v", list, got, err, want)
		}
	}
	// row 6 cannot be run
	for _, list := range []string{"x", "5z", "6", "20", "3-1", "1-", "1,,2"} {
		if got, err := parseRows(list); err == nil {
			t.Errorf("%q is %v, want an error", list, got)
		}
	}
}

// A promise of the contract that nothing shows would be the one that breaks.
func TestEveryRowOfTheContractIsShownHereOrElsewhere(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{}
	for _, r := range contract {
		if shown[r.id] {
			t.Errorf("two rows are called %s", r.id)
		}
		shown[r.id], shown[number(r.id)] = true, true
	}
	for _, r := range elsewhere {
		shown[r.id] = true
		for _, test := range r.tests {
			dir, name, _ := strings.Cut(test, " ")
			if !isTest(t, dir, name) {
				t.Errorf("row %s is to be shown by %s, which does not exist", r.id, test)
			}
		}
	}
	const rows = 19
	for n := 1; n <= rows; n++ {
		if !shown[fmt.Sprint(n)] {
			t.Errorf("row %d is shown nowhere", n)
		}
	}
}

func isTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declaration := regexp.MustCompile(`(?m)^func ` + name + `\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declaration.Match(text) {
			return true
		}
	}
	return false
}
