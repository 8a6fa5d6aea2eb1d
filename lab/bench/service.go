package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// service is a process that takes charges over HTTP: paymentsvc, or examples/onefile.
type service struct {
	*child
	address  string
	apiKeys  []string // of the merchants that are charged
	quietKey string   // the API key of the quiet merchant; empty: there is none
}

// servingLine is the line that both programs log when they serve.
var servingLine = regexp.MustCompile(`"msg":"serving","address":"([^"]+)"`)

// startService starts a service, which ends with the site, and returns when it serves.
// Its log goes to a file: to read along would cost CPU time.
func (s *site) startService(
	ctx context.Context, b books, command []string, settings ...string,
) (*service, error) {
	name := filepath.Base(command[0])
	log, err := os.CreateTemp(s.dir, name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own, and it is the one that writes
	program := exec.Command(command[0], command[1:]...)
	program.Stdout, program.Stderr = log, log
	process, alive, err := startChild(ctx, program, append(settings, "DATABASE_URL="+b.url,
		"LISTEN_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=0s")...)
	if err != nil {
		return nil, err
	}
	s.onClose(func() error {
		process.end(syscall.SIGTERM)
		return nil
	})
	started := &service{child: process, apiKeys: b.apiKeys, quietKey: b.quietKey}
	var text []byte
	err = poll(alive, "its address", func() (_ bool, err error) {
		text, err = os.ReadFile(log.Name())
		match := servingLine.FindSubmatch(text)
		if match != nil {
			started.address = string(match[1])
		}
		return match != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w%s", name, err, said(text))
	}
	return started, nil
}

// startOnefile starts examples/onefile, which has a schema of its own.
func (s *site) startOnefile(ctx context.Context, b books) (*service, error) {
	plain, err := s.startService(ctx, b, []string{s.config.Onefile})
	if err != nil {
		return nil, err
	}
	err = execute(ctx, b.url, `
		INSERT INTO onefile.accounts (id, currency)
		SELECT n::text, 'USD'
		FROM generate_series($1::int, $2) AS n`,
		firstAccount, firstAccount+s.config.Accounts-1)
	if err != nil {
		return nil, err
	}
	return plain, execute(ctx, b.url, `VACUUM ANALYZE onefile.accounts`)
}

// chargeOnce makes one charge, for its answer.
func (s *service) chargeOnce(ctx context.Context) ([]byte, error) {
	c, err := s.dial(ctx, load{accounts: 2})
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.charge()
}

const (
	startPatience = 30 * time.Second // for a child to become ready
	endPatience   = 30 * time.Second // for a child to end; the service allows requests 25 s
)

// child is a process that does not outlive this one. On Linux that holds even if this
// process is killed.
type child struct {
	command *exec.Cmd
	ended   chan struct{} // closed after the process was waited for
}

// startChild starts a program with these settings ("NAME=value"). Other settings of this
// process, such as DATABASE_URL, do not reach it. The context alive ends with the child.
//
// The kernel kills the child when the thread that forked it ends, and Go may end a
// thread at any time. So a goroutine holds that thread for the life of the child.
func startChild(
	ctx context.Context, command *exec.Cmd, settings ...string,
) (_ *child, alive context.Context, _ error) {
	command.SysProcAttr = childAttributes()
	command.Env = settings
	// A program with the race detector waits a second at its end, unless GORACE says otherwise.
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GORACE"} {
		command.Env = append(command.Env, name+"="+os.Getenv(name))
	}
	c := &child{command: command, ended: make(chan struct{})}
	alive, end := context.WithCancelCause(ctx)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			err = command.Wait()
			close(c.ended)
		}
		end(fmt.Errorf("%s ended: %w", filepath.Base(command.Path), err))
	}()
	if err := <-started; err != nil {
		return nil, nil, fmt.Errorf("starting %s: %w", filepath.Base(command.Path), err)
	}
	return c, alive, nil
}

func (c *child) pid() int { return c.command.Process.Pid }

// end signals the child and waits for its end. A slow child is killed.
func (c *child) end(signal syscall.Signal) {
	_ = c.command.Process.Signal(signal) // an error: it has ended
	select {
	case <-c.ended:
	case <-time.After(endPatience):
		_ = c.command.Process.Kill()
		<-c.ended
	}
}

// poll looks at a condition until it holds.
func poll(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if done, err := holds(); done || err != nil {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}

// said quotes the end of a program's output, for an error.
func said(output []byte) string {
	const most = 2 << 10
	return ". It said:\n" + strings.TrimSpace(string(output[max(0, len(output)-most):]))
}
