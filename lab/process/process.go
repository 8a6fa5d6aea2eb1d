// Package process runs server programs for dev, demo and tests: a Postgres, a message
// broker. They do not outlive the process that started them.
package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is a child that does not outlive its parent.
type Process struct {
	command *exec.Cmd
	asked   atomic.Bool   // to end
	done    chan struct{} // see Done
	err     error         // see Err
}

// Start starts a child. At the child's end it calls exited and closes Done.
//
// The kernel signals the child when its parent dies. The parent is the thread that
// forked, not the process (prctl(2), PR_SET_PDEATHSIG). Go may end a thread at any
// time, and the server would end with it. So the thread is bound to a goroutine that
// waits for the child's end.
func Start(command *exec.Cmd, exited func(*Process)) (*Process, error) {
	p := &Process{command: command, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = command.Wait()
		exited(p)
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Asked tells whether the child has been signalled to end.
func (p *Process) Asked() bool { return p.asked.Load() }

// Done is closed when the child has ended and been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended. Call it after Done only.
func (p *Process) Err() error { return p.err }

// Stop signals the child and waits for its end. A child that is slower than the context
// allows gets SIGQUIT: a postmaster then ends at once, and its data survives as it
// survives a crash.
func (p *Process) Stop(ctx context.Context, signal syscall.Signal) error {
	if err := p.Signal(signal); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	if err := p.Signal(syscall.SIGQUIT); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	select {
	case <-p.done:
	// a postmaster gives its children five seconds before it kills them
	case <-time.After(10 * time.Second):
		return errors.Join(ctx.Err(), p.Signal(syscall.SIGKILL))
	}
	return fmt.Errorf("it took too long and was stopped at once: %w", ctx.Err())
}

// Signal tells the child to end.
func (p *Process) Signal(signal syscall.Signal) error {
	p.asked.Store(true)
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %v to process %d: %w", signal, p.PID(), err)
	}
	return nil
}

// FreePort finds a port below the range of outgoing connections (from 32768 on Linux,
// from 49152 elsewhere). In that range, a client that dials the port of a stopped
// server again and again would at some time connect to itself, and keep the port.
func FreePort() uint32 {
	for range 1000 {
		port := 15000 + rand.Uint32N(17000) // a guess that is checked, not a secret
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	return 0 // the server refuses it and says so
}
