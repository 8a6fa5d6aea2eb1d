package service

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// endPatience is for a child that was told to end; the service itself allows its
// requests 25 seconds.
const endPatience = 30 * time.Second

// Child is a process of paymentsvc, or of an example.
type Child struct {
	Stdout, Stderr Output

	t       testing.TB
	command *exec.Cmd
	ended   chan struct{} // closed when it has been waited for
}

// Launch starts the program with these arguments and settings ("NAME=value"), and with
// nothing else in its environment that could be meant for it. What it prints is logged
// if the test fails.
func Launch(t testing.TB, settings []string, args ...string) *Child {
	t.Helper()
	return launch(t, exec.Command(Binary(t), args...), settings)
}

// LaunchConsumer starts examples/consumer, which reads the events of a broker.
func LaunchConsumer(t testing.TB, databaseURL, natsURL string) *Child {
	t.Helper()
	return launch(t, exec.Command(buildOnce(t, builtConsumer)),
		[]string{"DATABASE_URL=" + databaseURL, "NATS_URL=" + natsURL})
}

func launch(t testing.TB, command *exec.Cmd, settings []string) *Child {
	t.Helper()
	c := &Child{t: t, command: command, ended: make(chan struct{})}
	c.command.Stdout, c.command.Stderr = &c.Stdout, &c.Stderr
	c.command.SysProcAttr = mortal()
	// a race-built program waits a second before it exits
	c.command.Env = []string{"GORACE=atexit_sleep_ms=0"}
	c.command.Env = append(c.command.Env, settings...)
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, set := os.LookupEnv(name); set {
			c.command.Env = append(c.command.Env, name+"="+value)
		}
	}
	if err := c.start(); err != nil {
		t.Fatalf("starting %s: %v", command, err)
	}
	t.Cleanup(c.end)
	return c
}

// start runs the child. On Linux the kernel kills it when the thread that forked it
// ends, and Go ends threads as it likes; so that thread is bound to a goroutine that
// stays for as long as the child does.
func (c *Child) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.command.Start()
		started <- err
		if err == nil {
			_ = c.command.Wait() // how it ended is in ProcessState
			close(c.ended)
		}
	}()
	return <-started
}

// end kills what is left of the child, and judges what it printed.
func (c *Child) end() {
	c.Kill()
	said := c.Stderr.String()
	if strings.Contains(said, "WARNING: DATA RACE") || strings.Contains(said, "\npanic: ") {
		c.t.Errorf("%s has a race or a panic", c.command)
	}
	if c.t.Failed() {
		c.t.Logf("%s printed:\n%s", c.command, tail(c.Stdout.String()+said))
	}
}

// tail is the last of a long text.
func tail(text string) string {
	const most = 8 << 10
	if len(text) > most {
		text = "[…]" + text[len(text)-most:]
	}
	return text
}

// PID is the child's process id.
func (c *Child) PID() int { return c.command.Process.Pid }

// Signal sends a signal to the child, if it still lives.
func (c *Child) Signal(signal syscall.Signal) {
	c.t.Helper()
	if err := c.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Errorf("sending %v to %s: %v", signal, c.command, err)
	}
}

// Kill ends the child with SIGKILL and returns when it is gone.
func (c *Child) Kill() {
	c.t.Helper()
	c.Signal(syscall.SIGKILL)
	<-c.ended
}

// Stop freezes the child with SIGSTOP; Cont lets it go on.
func (c *Child) Stop() {
	c.t.Helper()
	c.Signal(syscall.SIGSTOP)
}

// Cont is the end of Stop.
func (c *Child) Cont() {
	c.t.Helper()
	c.Signal(syscall.SIGCONT)
}

// Terminate sends SIGTERM and returns the exit code.
func (c *Child) Terminate() int {
	c.t.Helper()
	c.Signal(syscall.SIGTERM)
	return c.ExitCode()
}

// Ended tells whether the child has ended.
func (c *Child) Ended() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// ExitCode waits for the child's own end; -1 is a signal.
func (c *Child) ExitCode() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(endPatience):
		c.t.Fatalf("%s did not end within %v", c.command, endPatience)
	}
	return c.command.ProcessState.ExitCode()
}

// Output is what a child has printed so far.
type Output struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

// Write adds to the output.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is all of it.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Count is how often a text was printed.
func (o *Output) Count(text string) int { return strings.Count(o.String(), text) }
