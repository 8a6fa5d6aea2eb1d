package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// run is this process's test run. It is global because go test makes one process for
// each package.
var run testRun

// testRun owns the server that the tests of a process share.
type testRun struct {
	mu     sync.Mutex // guards the fields below
	begun  bool       // Main is there to stop the server
	server *server    // from the first New on
	err    error      // why there is none, for every test
}

// Main runs a package's tests, stops their server, and exits. It also fails the package
// if goroutines are left behind, except for those that the options excuse. m is the
// *testing.M, or a wrapper around it that adds to its verdict.
func Main(m interface{ Run() int }, excuses ...goleak.Option) {
	os.Exit(run.main(m, excuses)) //nolint:revive // TestMain is a package's main
}

func (r *testRun) main(m interface{ Run() int }, excuses []goleak.Option) int {
	r.mu.Lock()
	r.begun = true
	r.mu.Unlock()
	code := m.Run()
	if code != 0 && r.server != nil && !r.server.stays {
		fmt.Fprintln(os.Stderr,
			"pgtest: the test server and the databases of failed tests are removed now. "+
				"To look at one, set TEST_DATABASE_URL to an administrator's URL of a server.")
	}
	if err := r.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: stopping the test server:", err)
		return max(code, 1)
	}
	if code != 0 {
		return code // a failed test leaves goroutines
	}
	http.DefaultClient.CloseIdleConnections() // each has two goroutines
	if err := goleak.Find(append(excuses, libraryGoroutines...)...); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: the tests left goroutines behind:", err)
		return 1
	}
	return 0
}

// libraryGoroutines stay as long as the process. Nothing can end them.
var libraryGoroutines = []goleak.Option{
	goleak.IgnoreAnyFunction(
		"github.com/testcontainers/testcontainers-go.(*Reaper).connect.func1",
	),
	goleak.IgnoreAnyFunction(
		"github.com/paymentsvc/paymentsvc/lab/pgtest.dockerAnswers.func1",
	),
}

// adminURL is an administrator's URL of the server, which the first test starts.
func (r *testRun) adminURL(t testing.TB) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
		t.Fatal("pgtest: nothing stops the test server after this package's last test. " +
			"Add to one of its _test files:\n\n" +
			"\tfunc TestMain(m *testing.M) { pgtest.Main(m) }\n")
	}
	if r.server == nil && r.err == nil {
		// an image may have to be pulled
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		r.server, r.err = startServer(ctx, os.Getenv, sources)
	}
	if r.err != nil {
		t.Fatalf("pgtest: %v", r.err)
	}
	return r.server.adminURL
}

func (r *testRun) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := r.server.stop(ctx)
	r.server, r.err = nil, errors.New("the test run is over")
	return err
}
