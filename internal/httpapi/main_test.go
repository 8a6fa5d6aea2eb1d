package httpapi_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/contract"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) {
	// Each check draws a request of every operation. A flag of the command line sets
	// another number.
	_ = flag.Set("rapid.checks", "50")
	pgtest.Main(wholePackage{m})
}

// wholePackage runs the tests, and then fails if there is an operation that none of
// them has made work.
type wholePackage struct{ tests *testing.M }

func (p wholePackage) Run() int {
	code := p.tests.Run()
	if code != 0 || !everyTestRan() {
		return code
	}
	for _, operation := range contract.Published().Unexercised() {
		fmt.Fprintf(os.Stderr,
			"FAIL: api/openapi.yaml describes %s, and no test has made it succeed\n", operation)
		code = 1
	}
	return code
}

// everyTestRan tells whether go test was not asked for some tests only.
func everyTestRan() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}
