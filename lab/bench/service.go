package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
)

const (
	startPatience    = 30 * time.Second // for a service to become ready
	setUpConnections = 32               // for what is not measured
)

// service is a process that takes charges over HTTP: paymentsvc, or examples/onefile.
type service struct {
	*child
	name    string
	logPath string
	address string
	apiKey  string
	program string // the load generator
	http    *http.Client
}

// startService starts a service, whose log goes to a file: to read along would cost CPU
// time. It returns when the log says where it listens.
func startService(
	ctx context.Context, name, scratch string, command *exec.Cmd, settings ...string,
) (_ *service, err error) {
	s := &service{
		name:    name,
		logPath: filepath.Join(scratch, name+".log"),
		http:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: setUpConnections}},
	}
	log, err := os.OpenFile(s.logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer log.Close() //nolint:errcheck // the service has its own, and it is the one who writes
	command.Stdout, command.Stderr = log, log
	if s.child, err = startChild(command, settings...); err != nil {
		return nil, err
	}
	if err := s.awaitAddress(ctx); err != nil {
		s.kill()
		return nil, fmt.Errorf("starting %s: %w%s", name, err, s.said())
	}
	return s, nil
}

// addressPattern is an address of this machine, with a port that the system chose.
var addressPattern = regexp.MustCompile(`(?:127\.0\.0\.1|\[::1?\]|localhost):(\d{2,5})`)

// servingLine is what paymentsvc logs. Any other line may name the address of something
// else, such as its admin listener.
var servingLine = regexp.MustCompile(`"msg":"serving","address":"([^"]+)"`)

func (s *service) awaitAddress(ctx context.Context) error {
	return s.poll(ctx, "waiting for the log to say where it listens", func() bool {
		log, err := os.ReadFile(s.logPath)
		if err != nil {
			return false
		}
		if match := servingLine.FindSubmatch(log); match != nil {
			s.address = string(match[1])
		} else if match := addressPattern.FindSubmatch(log); match != nil &&
			s.name != paymentsvcName {
			s.address = "127.0.0.1:" + string(match[1])
		}
		return s.address != ""
	})
}

// awaitReady waits until /readyz says yes.
func (s *service) awaitReady(ctx context.Context) error {
	return s.poll(ctx, "waiting for /readyz", func() bool {
		status, _, err := s.do(ctx, http.MethodGet, "/readyz", "", nil)
		return err == nil && status == http.StatusOK
	})
}

func (s *service) poll(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-s.ended:
			return fmt.Errorf("%s: it ended: %w", what, s.err)
		case <-tick.C:
		}
	}
	return nil
}

// said is the end of the service's log, for an error.
func (s *service) said() string {
	log, _ := os.ReadFile(s.logPath)
	return said(log)
}

// do sends one request, which is not measured.
func (s *service) do(
	ctx context.Context, method, path, key string, body []byte,
) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path,
		bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.apiKey)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := s.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// putAccounts makes the accounts through the API, for a service whose tables are its
// own business.
func (s *service) putAccounts(ctx context.Context, n int) error {
	defer s.http.CloseIdleConnections()
	terms := []byte(`{"currency":"USD","overdraft_limit":null}`)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(setUpConnections)
	for i := range n {
		group.Go(func() error {
			status, answer, err := s.do(ctx, http.MethodPut, "/accounts/"+accountID(i), "", terms)
			if err == nil && status != http.StatusCreated && status != http.StatusOK {
				err = fmt.Errorf("it answered %d: %s", status, answer)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("making accounts of %s: %w%s", s.name, err, s.said())
	}
	return nil
}

// charge makes one charge, for its answer.
func (s *service) charge(ctx context.Context) ([]byte, error) {
	body := fmt.Appendf(nil,
		`{"amount":%d,"currency":"USD","source_account":%q,"destination_account":%q}`,
		amountMin, accountID(0), accountID(1))
	status, answer, err := s.do(ctx, http.MethodPost, "/payments", strings.Repeat("0", keyLength),
		body)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("it answered %d: %s", status, answer)
	}
	if err != nil {
		return nil, fmt.Errorf("charging once at %s: %w", s.name, err)
	}
	return answer, nil
}

// measure has the load generator charge, in a process of its own.
func (s *service) measure(
	ctx context.Context, m *meter, load Load,
) (measured Measurement, err error) {
	load.Address, load.APIKey = s.address, s.apiKey
	task, err := json.Marshal(load)
	if err != nil {
		return measured, err
	}
	var complaints bytes.Buffer
	command := exec.Command(s.program, LoadCommand)
	command.Stdin, command.Stderr = bytes.NewReader(task), &complaints
	stdout, in := io.Pipe()
	command.Stdout = in
	generator, err := startChild(command)
	if err != nil {
		return measured, err
	}
	defer context.AfterFunc(ctx, func() { _ = generator.command.Process.Kill() })()
	go func() {
		<-generator.ended
		_ = in.Close()
	}()
	m.service, m.client = s.pid(), generator.pid()
	seen, window, err := follow(stdout, m)
	if err = errors.Join(err, ctx.Err()); err != nil {
		generator.kill()
		return measured, fmt.Errorf("generating load on %s: %w%s%s", s.name, err,
			said(complaints.Bytes()), s.said())
	}
	return window.measurement(seen), generator.wait(ctx)
}

// follow reads what the load generator prints, and everybody's CPU time when it says
// so.
func follow(stdout io.Reader, m *meter) (seen outcome, w window, err error) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		switch line := lines.Text(); line {
		case beginLine:
			w.begin, w.before = time.Now(), m.read()
		case endLine:
			w.end, w.then = time.Now(), m.read()
		default:
			return seen, w, json.Unmarshal([]byte(line), &seen)
		}
	}
	return seen, w, errors.Join(errors.New("the load generator ended early"), lines.Err())
}
