package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a child that does not outlive its parent.
type process struct {
	command *exec.Cmd
	asked   atomic.Bool   // to end
	done    chan struct{} // closed when the child has ended and been waited for
	err     error         // how it ended; read it only after done
}

// startProcess starts a child. At the child's end it calls exited and closes done.
//
// The kernel signals the child when its parent dies. The parent is the thread that
// forked, not the process (prctl(2), PR_SET_PDEATHSIG). Go may end a thread at any time,
// and the server would end with it. So the thread is bound to a goroutine that waits for
// the child's end.
func startProcess(command *exec.Cmd, exited func(*process)) (*process, error) {
	p := &process{command: command, done: make(chan struct{})}
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

func (p *process) pid() int { return p.command.Process.Pid }

// stop signals the child and waits for its end. A child that is slower than the context
// allows gets SIGQUIT: a postmaster then ends at once, and its data survives as it
// survives a crash.
func (p *process) stop(ctx context.Context, signal syscall.Signal) error {
	if err := p.signal(signal); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	if err := p.signal(syscall.SIGQUIT); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	select {
	case <-p.done:
	// a postmaster gives its children five seconds before it kills them
	case <-time.After(10 * time.Second):
		return errors.Join(ctx.Err(), p.signal(syscall.SIGKILL))
	}
	return fmt.Errorf("it took too long and was stopped at once: %w", ctx.Err())
}

func (p *process) signal(signal syscall.Signal) error {
	p.asked.Store(true)
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %v to process %d: %w", signal, p.pid(), err)
	}
	return nil
}
