package pgserver_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

func TestDataSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Options{Durable: true})
	url, pid := s.URL(), s.PID()
	keep(t, s, "before the restart")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKept(t, s, "before the restart")
	if s.URL() != url {
		t.Errorf("the URL became %s, was %s", s.URL(), url)
	}
	if s.PID() == pid {
		t.Error("it is still the same server process")
	}
}

func TestDataSurvivesANewParent(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, pgserver.Options{DataDir: dir, Durable: true})
	keep(t, first, "by the first")
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKept(t, start(t, pgserver.Options{DataDir: dir, Durable: true}), "by the first")
}

func TestCommittedDataSurvivesAKill(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		end  func(*pgserver.Server) error
	}{
		{"SIGKILL", func(s *pgserver.Server) error { return s.Kill() }},
		{
			"immediate shutdown",
			func(s *pgserver.Server) error { return s.StopImmediate(t.Context()) },
		},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, pgserver.Options{Durable: true})
			url := s.URL()
			idle := connect(t, s.URL()) // a backend that has to notice by itself
			keep(t, s, "committed")
			if err := way.end(s); err != nil {
				t.Fatal(err)
			}
			select {
			case <-s.Done():
			default:
				t.Error("the server was killed, but it is not said to be done")
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantKept(t, s, "committed")
			if err := idle.Ping(t.Context()); err == nil {
				t.Error("a connection survived the kill")
			}
			if s.URL() != url {
				t.Errorf("the URL became %s, was %s", s.URL(), url)
			}
		})
	}
}

func TestURLOfARunningServerCanBeLearnt(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	if _, err := pgserver.RunningURL(pgserver.Options{DataDir: dir}); !errors.Is(err,
		pgserver.ErrNotRunning) {
		t.Errorf("before there is a server, it gave %v, want %v", err, pgserver.ErrNotRunning)
	}
	s := start(t, pgserver.Options{DataDir: dir})
	url, err := pgserver.RunningURL(pgserver.Options{DataDir: dir})
	if err != nil || url != s.URL() {
		t.Errorf("the URL is said to be %s (%v), and is %s", url, err, s.URL())
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := pgserver.RunningURL(pgserver.Options{DataDir: dir}); !errors.Is(err,
		pgserver.ErrNotRunning) {
		t.Errorf("of a killed server, it gave %v, want %v", err, pgserver.ErrNotRunning)
	}
	if err := s.Restart(t.Context()); err != nil { // so that its shared memory is tidied up
		t.Fatal(err)
	}
}

func TestASecondServerOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first := start(t, pgserver.Options{DataDir: dir})
	_, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
	if !errors.Is(err, pgserver.ErrInUse) {
		t.Fatalf("starting a second server gave %v, want %v", err, pgserver.ErrInUse)
	}
	if pid := strconv.Itoa(first.PID()); !strings.Contains(err.Error(), pid) {
		t.Errorf("the error does not name process %s, who has the data: %v", pid, err)
	}
	if err := pgserver.Remove(dir); !errors.Is(err, pgserver.ErrInUse) {
		t.Errorf("removing the data of a running server gave %v, want %v", err, pgserver.ErrInUse)
	}
	keep(t, first, "still works")
}

func TestTwoStartsAtOnceMakeOneServer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	type result struct {
		server *pgserver.Server
		err    error
	}
	results := make(chan result)
	for range 2 {
		go func() {
			s, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
			results <- result{s, err}
		}()
	}
	one, two := <-results, <-results
	if one.err != nil {
		one, two = two, one
	}
	if one.err != nil {
		t.Fatalf("none started: %v, and %v", one.err, two.err)
	}
	defer one.server.Stop(context.WithoutCancel(t.Context())) //nolint:errcheck // that it started is the promise here
	keep(t, one.server, "of the one")
	if !errors.Is(two.err, pgserver.ErrInUse) {
		t.Errorf("the other start gave %v, want %v", two.err, pgserver.ErrInUse)
	}
}

func TestDoneTellsThatTheServerDiedByItself(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Options{})
	if err := syscall.Kill(s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the server was stopped from outside, but it is not said to be done")
	}
}

func TestStopEndsAServerThatHasAClient(t *testing.T) {
	t.Parallel()
	s := start(t, pgserver.Options{})
	connect(t, s.URL())
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stopping a stopped server: %v", err)
	}
}

// On Linux the kernel ends the server when the thread that forked it ends, and not only
// with the process.
func TestServerSurvivesTheThreadThatAskedForIt(t *testing.T) {
	t.Parallel()
	started := make(chan *pgserver.Server)
	dir := dataDir(t)
	go func() {
		runtime.LockOSThread() // and never unlocked, so the thread ends with this goroutine
		s, err := pgserver.Start(t.Context(), pgserver.Options{DataDir: dir})
		if err != nil {
			t.Error(err)
		}
		started <- s
	}()
	s := <-started
	if s == nil {
		return
	}
	defer s.Stop(context.WithoutCancel(t.Context())) //nolint:errcheck // that it survives is the promise here
	for range 10 {
		keep(t, s, "alive") // a signal would arrive in between
	}
}

// start runs a server for one test.
func start(t *testing.T, o pgserver.Options) *pgserver.Server {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = dataDir(t)
	}
	s, err := pgserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dataDir is a place for Start to make a directory in, because t.TempDir is closed to
// root's servant.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(pgserver.ScratchDir(), "paymentsvc-embedded-"+rand.Text())
	t.Cleanup(func() {
		if err := pgserver.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func ask(t *testing.T, s *pgserver.Server, sql string, args ...any) (answer string) {
	t.Helper()
	if err := connect(t, s.URL()).QueryRow(t.Context(), sql, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// keep commits a row.
func keep(t *testing.T, s *pgserver.Server, what string) {
	t.Helper()
	conn := connect(t, s.URL())
	for _, sql := range []string{
		`CREATE TABLE IF NOT EXISTS kept (what text NOT NULL)`,
		`INSERT INTO kept (what) VALUES (` + "'" + what + "'" + `)`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func wantKept(t *testing.T, s *pgserver.Server, want string) {
	t.Helper()
	if got := ask(t, s, `SELECT string_agg(what, ', ') FROM kept`); got != want {
		t.Errorf("the data is %q, want %q", got, want)
	}
}
