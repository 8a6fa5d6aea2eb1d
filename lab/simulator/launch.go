package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/process"
)

const (
	launchPatience = 20 * time.Second
	lookInterval   = 10 * time.Millisecond
)

// LaunchOptions are for a simulator in a process of its own.
type LaunchOptions struct {
	Program       string // paymentsvc
	Dir           string // for the books and the log
	PreferredPort int    // taken if it is free; else any free one
	Arguments     []string
	Logger        *slog.Logger
}

// Process is a simulator in a process of its own, which ends with this one.
type Process struct {
	options LaunchOptions
	port    int
	process *process.Process
}

// Launch starts a simulator and returns when it answers. The books of an earlier one in
// the same directory are still there.
func Launch(ctx context.Context, o LaunchOptions) (*Process, error) {
	p := &Process{options: o, port: o.PreferredPort}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the card processor: %w", err)
	}
	if p.port == 0 || !free(ctx, p.port) {
		p.port = int(process.FreePort())
	}
	return p, p.Restart(ctx)
}

func free(ctx context.Context, port int) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addressOf(port))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}

func addressOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// URL is the address of the API, as an SDK wants it.
func (p *Process) URL() string { return "http://" + addressOf(p.port) }

// Stop ends the simulator.
func (p *Process) Stop(ctx context.Context) error { return p.process.Stop(ctx, syscall.SIGTERM) }

// Kill ends the simulator with SIGKILL.
func (p *Process) Kill(ctx context.Context) error { return p.process.Stop(ctx, syscall.SIGKILL) }

// Restart starts the simulator again at the same address, after Kill or Stop.
func (p *Process) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, launchPatience)
	defer cancel()
	logFile := filepath.Join(p.options.Dir, "simulator.log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of the card processor: %w", err)
	}
	defer log.Close() //nolint:errcheck // only the child writes, through a copy of its own
	command := exec.CommandContext(context.WithoutCancel(ctx), p.options.Program,
		append([]string{
			"simulate-processor", "--listen", addressOf(p.port),
			"--books", filepath.Join(p.options.Dir, "books.db"),
			// The environment may have those of another simulator.
			"--secret", DefaultSecret, "--webhook-secret", DefaultWebhookSecret,
			"--webhook-url", "",
		}, p.options.Arguments...)...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = process.Attributes(nil, syscall.SIGTERM)
	p.process, err = process.Start(command, func(child *process.Process) {
		if !child.Asked() {
			p.options.Logger.Warn("the card processor ended by itself", "how", child.Err(),
				"log", logFile)
		}
	})
	if err != nil {
		return fmt.Errorf("running the card processor: %w", err)
	}
	if err := p.awaitReady(ctx, logFile); err != nil {
		return errors.Join(err, p.Kill(context.WithoutCancel(ctx)))
	}
	p.options.Logger.Info("the card processor runs", "pid", p.process.PID(), "url", p.URL(),
		"directory", p.options.Dir)
	return nil
}

func (p *Process) awaitReady(ctx context.Context, logFile string) error {
	for {
		if p.request(ctx, http.MethodGet, "/faults", nil) == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			said, _ := os.ReadFile(logFile)
			return fmt.Errorf("the card processor ended at its start: %w. It said:\n%s",
				p.process.Err(), said)
		case <-ctx.Done():
			return fmt.Errorf("waiting for the card processor: %w", ctx.Err())
		case <-time.After(lookInterval):
		}
	}
}

// SetWebhookURL tells where events are sent, also those that wait.
func (p *Process) SetWebhookURL(ctx context.Context, url string) error {
	return p.post(ctx, "/webhook", map[string]string{"url": url})
}

// SetFaults replaces the faults.
func (p *Process) SetFaults(ctx context.Context, faults Faults) error {
	return p.post(ctx, "/faults", faults)
}

func (p *Process) post(ctx context.Context, path string, content any) error {
	body, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return p.request(ctx, http.MethodPost, path, body)
}

func (p *Process) request(ctx context.Context, method, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, p.URL()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("calling the card processor: %w", err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("calling the card processor: %s %s: %s", method, path, res.Status)
	}
	return nil
}
