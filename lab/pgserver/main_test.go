package pgserver

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// parentOn, an environment variable with a directory, makes this test program the
// parent of a server there, to be killed by a test.
const parentOn = "PGSERVER_TEST_PARENT_ON"

func TestMain(m *testing.M) {
	dir := os.Getenv(parentOn)
	if dir == "" {
		goleak.VerifyTestMain(m)
	}
	if err := beParent(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// beParent starts a server, commits a row, prints the server's process id, and waits to
// be killed.
func beParent(ctx context.Context, dir string) error {
	s, err := Start(ctx, Options{DataDir: dir, Durable: true})
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx,
		`CREATE TABLE kept (what) AS VALUES ('by the parent')`); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, s.PID()); err != nil {
		return err
	}
	<-s.Done()
	return fmt.Errorf("the server died before its parent")
}
