package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestCommittedDataSurvivesAKill(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Durable: true})
	url, pid := s.URL(), s.PID()
	connect(t, url) // its backend has to notice by itself
	keep(t, s, "committed")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("the server was killed, but Done is open")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKept(t, s, "committed")
	if s.URL() != url || s.PID() == pid {
		t.Errorf("process %d at %s became process %d at %s; want another at the same URL",
			pid, url, s.PID(), s.URL())
	}
}

func TestRunningURL(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	want := func(when, want string, wantErr error) {
		t.Helper()
		url, err := RunningURL(Options{DataDir: dir})
		if url != want || !errors.Is(err, wantErr) {
			t.Errorf("%s, the URL is %q (%v), want %q (%v)", when, url, err, want, wantErr)
		}
	}
	want("before the start", "", ErrNotRunning)
	s := start(t, Options{DataDir: dir})
	want("while it runs", s.URL(), nil)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	want("after a kill", "", ErrNotRunning)
	if err := s.Restart(t.Context()); err != nil { // it removes the shared memory
		t.Fatal(err)
	}
}

func TestTwoStartsAtOnceMakeOneServer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	results := make(chan error)
	for range 2 {
		go func() {
			s, err := Start(t.Context(), Options{DataDir: dir})
			if err == nil {
				stopAfter(t, s)
			}
			results <- err
		}()
	}
	one, two := <-results, <-results
	if one != nil {
		one, two = two, one
	}
	if one != nil || !errors.Is(two, ErrInUse) {
		t.Errorf("two starts gave %v and %v, want one server and %v", one, two, ErrInUse)
	}
	if err := Remove(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("removing the data of a running server gave %v, want %v", err, ErrInUse)
	}
}

func TestStopEndsAServerThatHasAClient(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	connect(t, s.URL())
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// On Linux the kernel ends the server when the thread that forked it ends, and not only
// with the process.
func TestServerSurvivesTheThreadThatStartedIt(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	started := make(chan *Server)
	go func() {
		runtime.LockOSThread() // and never unlocked, so the thread ends with this goroutine
		s, err := Start(t.Context(), Options{DataDir: dir})
		if err != nil {
			t.Error(err)
		}
		started <- s
	}()
	s := <-started
	if s == nil {
		return
	}
	stopAfter(t, s)
	for range 10 {
		keep(t, s, "alive") // a signal would arrive in between
	}
}

func TestOnlyThePasswordConnects(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	guessed := strings.Replace(s.URL(), s.password, "guessed", 1)
	if conn, err := pgx.Connect(t.Context(), guessed); err == nil {
		t.Error("any password connects")
		conn.Close(t.Context())
	}
	for _, file := range []string{s.dir.passwordFile(), s.LogPath()} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("others may read %s: %v", file, info.Mode())
		}
	}
}

// start runs a server for one test.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = dataDir(t)
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	stopAfter(t, s)
	return s
}

func stopAfter(t *testing.T, s *Server) {
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// dataDir is a directory for a server. The user that runs root's servers may not enter
// t.TempDir.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(ScratchDir(), "paymentsvc-pgserver-"+rand.Text())
	if err := makeEnterable(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(dir); err != nil {
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

// keep commits a row.
func keep(t *testing.T, s *Server, what string) {
	t.Helper()
	if _, err := connect(t, s.URL()).Exec(t.Context(), `
		CREATE TABLE IF NOT EXISTS kept (what text NOT NULL);
		INSERT INTO kept (what) VALUES ('`+what+`')`); err != nil {
		t.Fatal(err)
	}
}

func wantKept(t *testing.T, s *Server, want string) {
	t.Helper()
	var got string
	if err := connect(t, s.URL()).QueryRow(t.Context(),
		`SELECT string_agg(what, ', ') FROM kept`).Scan(&got); err != nil || got != want {
		t.Errorf("the data is %q (%v), want %q", got, err, want)
	}
}
