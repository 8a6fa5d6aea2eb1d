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

	"github.com/paymentsvc/paymentsvc/lab/await"
)

func TestStartErrorQuotesTheServer(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	_, err := Start(t.Context(),
		Options{DataDir: dir, Parameters: map[string]string{"shared_buffers": "plenty"}})
	if err == nil || !strings.Contains(err.Error(),
		`invalid value for parameter "shared_buffers": "plenty"`) {
		t.Fatalf("the error does not quote the server: %v", err)
	}
	start(t, Options{DataDir: dir}) // and the directory is free again
}

func TestPortOfAnotherProcessIsRefused(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	port := other.Addr().(*net.TCPAddr).Port
	_, err = Start(t.Context(), Options{DataDir: dataDir(t), Port: port})
	if !errors.Is(err, errPortTaken) {
		t.Fatalf("starting on a taken port gave %v, want %v", err, errPortTaken)
	}
}

func TestStartWaitsForAServerWithoutAParent(t *testing.T) {
	t.Parallel()
	orphan := start(t, Options{})
	dir := orphan.dir
	if err := os.Remove(dir.lockFile()); err != nil { // as if its parent were dead
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := Start(ctx, Options{DataDir: dir.path})
		result <- err
	}()
	await.Until(t, 20*time.Second, "the second server finds the first", func() bool {
		log, _ := os.ReadFile(dir.logFile())
		return strings.Contains(string(log), `lock file "postmaster.pid" already exists`)
	})
	cancel()
	if err := <-result; !errors.Is(err, ErrInUse) ||
		!strings.Contains(err.Error(), strconv.Itoa(orphan.PID())) {
		t.Fatalf("starting beside a server without a parent gave %v, want %v and its process id",
			err, ErrInUse)
	}
	if err := Remove(dir.path); !errors.Is(err, ErrInUse) {
		t.Errorf("removing its data gave %v, want %v", err, ErrInUse)
	}
	if err := syscall.Kill(orphan.PID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	start(t, Options{DataDir: dir.path})
}
