package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// endPatience is for a child that was told to end; the service itself allows its
// requests 25 seconds.
const endPatience = 30 * time.Second

// child is a process that does not outlive us (on Linux not even when we are killed).
type child struct {
	command *exec.Cmd
	ended   chan struct{} // closed when it has been waited for
	err     error         // how it ended; read it only after ended
}

// startChild starts a program with these settings ("NAME=value"), and with nothing else
// in its environment that could be meant for it.
//
// The kernel signals the child when the thread that forked it ends, and Go ends threads
// as it likes. So that thread is bound to a goroutine that stays for as long as the
// child does.
func startChild(command *exec.Cmd, settings ...string) (*child, error) {
	command.SysProcAttr = childAttributes()
	command.Env = environment(settings)
	c := &child{command: command, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			c.err = command.Wait()
			close(c.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(command.Path), err)
	}
	return c, nil
}

// environment is what a child gets: what it needs to run at all, what tunes the Go
// runtime, and its settings.
func environment(settings []string) []string {
	var env []string
	for _, name := range append([]string{"PATH", "HOME", "TMPDIR"}, runtimeSettings...) {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return append(env, settings...)
}

// runtimeSettings are passed on to the service, and named in the report when they are
// set.
var runtimeSettings = []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS"}

func (c *child) pid() int { return c.command.Process.Pid }

// wait returns when the child has ended. If ctx ends first, the child is killed.
func (c *child) wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return c.err
	case <-ctx.Done():
		_ = c.command.Process.Kill()
		<-c.ended
		return ctx.Err()
	}
}

// stop asks the child to end and waits for it. An error means that it did not end well.
// (A small program may leave it to the signal to end it.)
func (c *child) stop() error {
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil &&
		!errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", filepath.Base(c.command.Path), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	if err := c.wait(ctx); err != nil && !endedBy(err, syscall.SIGTERM) {
		return fmt.Errorf("stopping %s: %w", filepath.Base(c.command.Path), err)
	}
	return nil
}

// endedBy tells whether err, the end of a process, is that signal.
func endedBy(err error, signal syscall.Signal) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

// kill ends the child at once, if it still lives.
func (c *child) kill() {
	_ = c.command.Process.Kill()
	<-c.ended
}
