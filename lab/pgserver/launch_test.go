package pgserver

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestErrorAtTheStartSaysWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	dir := emptyDirectory(t)
	_, err := Start(t.Context(),
		Options{DataDir: dir.path, Parameters: map[string]string{"shared_buffers": "plenty"}})
	if err == nil || !strings.Contains(err.Error(),
		`invalid value for parameter "shared_buffers": "plenty"`) {
		t.Fatalf("the error does not quote the server: %v", err)
	}
	started(t, Options{DataDir: dir.path}) // and the directory is free again
}

func TestPortOfAnotherProcessIsRefused(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	port := other.Addr().(*net.TCPAddr).Port
	_, err = Start(t.Context(), Options{DataDir: emptyDirectory(t).path, Port: port})
	if !errors.Is(err, errPortTaken) {
		t.Fatalf("starting on a taken port gave %v, want %v", err, errPortTaken)
	}
}

func TestServerThatNobodyOwnsIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir, orphan := started(t, Options{})
	if err := os.Remove(dir.lockFile()); err != nil { // as if its parent were dead
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		waitForLog(t, dir, `lock file "postmaster.pid" already exists`)
	}()
	_, err := Start(ctx, Options{DataDir: dir.path})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(orphan.PID())) {
		t.Fatalf("starting beside a server that nobody owns gave %v, want %v and its process id",
			err, ErrInUse)
	}
	if err := Remove(dir.path); !errors.Is(err, ErrInUse) {
		t.Errorf("removing its data gave %v, want %v", err, ErrInUse)
	}
	if err := syscall.Kill(orphan.PID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	started(t, Options{DataDir: dir.path})
}

func waitForLog(t *testing.T, dir directory, want string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		log, err := os.ReadFile(dir.logFile())
		if err != nil {
			t.Error(err)
			return
		}
		if strings.Contains(string(log), want) {
			return
		}
		select {
		case <-deadline:
			t.Errorf("the server never said %q, only:\n%s", want, log)
			return
		case <-time.After(pollInterval):
		}
	}
}
