//go:build compose

// Package compose runs docker-compose.yml for real, and does to it what it is there to
// show: charges go to one instance and their retries to the other, while instances and
// Postgres are killed.
//
// It needs Docker, so it is not part of `make test`: run it by `make compose-test`. It
// builds the image and starts a project of its own, at ports of its own, so a running
// one is not touched.
package compose

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	root          = "../.."          // of the repository: commands run there, as a reader's do
	startTimeout  = 10 * time.Minute // the image is built, and another may be pulled
	commandLimit  = 2 * time.Minute
	readyPatience = 30 * time.Second
)

// stack is the running project, which all tests share.
type stack struct {
	compose                        []string // the command, in one word or two
	settings                       []string // environment
	instance1, instance2, database port
	admin1, admin2, processor      port
}

type port string

func (p port) url() string { return "http://127.0.0.1:" + string(p) }

// running is set by TestMain.
var running *stack

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	s, err := newStack()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compose:", err)
		return 1
	}
	defer func() {
		if err := s.down(); err != nil {
			fmt.Fprintln(os.Stderr, "compose: cleaning up:", err)
			code = 1
		}
	}()
	if err := s.up(); err != nil {
		fmt.Fprintln(os.Stderr, "compose: starting:", err)
		return 1
	}
	running = s
	if code = m.Run(); code != 0 {
		logs, _ := s.output(context.Background(), s.command("logs", "--no-color", "--tail=100"))
		fmt.Fprintln(os.Stderr, logs)
	}
	return code
}

func newStack() (*stack, error) {
	compose, err := findCompose()
	if err != nil {
		return nil, err
	}
	s := &stack{compose: compose}
	ports := []*port{
		&s.instance1, &s.instance2, &s.database, &s.admin1, &s.admin2, &s.processor,
	}
	for _, p := range ports {
		if *p, err = freePort(); err != nil {
			return nil, err
		}
	}
	// an addition of whoever runs this, for example to build behind a mirror
	files := os.Getenv("COMPOSE_FILE")
	if files == "" {
		files = "docker-compose.yml"
	}
	s.settings = []string{
		"COMPOSE_FILE=" + files + ":test/compose/database-port.yml",
		"COMPOSE_PROJECT_NAME=paymentsvc-test-" + strings.ToLower(rand.Text()[:8]),
		"PAYMENTSVC_IMAGE=paymentsvc:test",
		"INSTANCE1_PORT=" + string(s.instance1),
		"INSTANCE2_PORT=" + string(s.instance2),
		"INSTANCE1_ADMIN_PORT=" + string(s.admin1),
		"INSTANCE2_ADMIN_PORT=" + string(s.admin2),
		"POSTGRES_PORT=" + string(s.database),
		"PROCESSOR_PORT=" + string(s.processor),
		"OWNER_PASSWORD=" + ownerPassword,
		"SERVICE_PASSWORD=" + servicePassword,
	}
	return s, nil
}

// Passwords of this project, with characters that would break a URL.
const (
	ownerPassword   = "owner's/@:? #%"
	servicePassword = "service's/@:? #%"
)

// findCompose looks for compose in both of its forms, and for a daemon.
func findCompose() ([]string, error) {
	if said, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("this test needs Docker, and `docker info` says: %w\n%s", err, said)
	}
	for _, command := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(command[0], append(command[1:], "version")...).Run() == nil {
			return command, nil
		}
	}
	return nil, errors.New(
		"this test needs Docker Compose: install the plugin (docker compose) or docker-compose",
	)
}

// freePort is a port that nobody listens at. It is kept over restarts of a container,
// which a port of Docker's choice is not, so it is none of those that the kernel gives
// out meanwhile.
func freePort() (port, error) {
	const tries, lowest, count = 100, 20_000, 10_000
	var err error
	for range tries {
		number := fmt.Sprint(lowest + mathrand.IntN(count))
		var listener net.Listener
		if listener, err = net.Listen("tcp", "127.0.0.1:"+number); err == nil {
			return port(number), listener.Close()
		}
	}
	return "", fmt.Errorf("looking for a free port: %w", err)
}

// command is one of compose's.
func (s *stack) command(args ...string) *exec.Cmd {
	return exec.Command(s.compose[0], append(s.compose[1:], args...)...)
}

// output runs a command as a reader does, and returns what it prints. What it says on
// standard error is part of the error.
func (s *stack) output(ctx context.Context, command *exec.Cmd) (string, error) {
	var out, complaints bytes.Buffer
	command.Dir, command.Env = root, append(os.Environ(), s.settings...)
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = command.Process.Kill() })
	defer stop()
	if err := command.Wait(); err != nil {
		return out.String(),
			fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, complaints.String())
	}
	return out.String(), nil
}

func (s *stack) up() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := s.output(ctx, s.command("up", "--build", "--detach")); err != nil {
		return err
	}
	for _, p := range []port{s.instance1, s.instance2} {
		if err := p.awaitReady(); err != nil {
			return err
		}
	}
	return nil
}

func (s *stack) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	_, err := s.output(ctx, s.command("down", "--volumes", "--timeout=5"))
	return err
}

// must runs a command that has to succeed.
func (s *stack) must(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	printed, err := s.output(ctx, command)
	if err != nil {
		t.Fatal(err)
	}
	return printed
}

// container is the id of a service's container.
func (s *stack) container(t *testing.T, service string) string {
	t.Helper()
	id := strings.TrimSpace(s.must(t, s.command("ps", "--quiet", service)))
	if !regexp.MustCompile(`^[0-9a-f]{12,}$`).MatchString(id) {
		t.Fatalf("%s has the containers %q", service, id)
	}
	return id
}

// docker runs a command of docker itself, which is quicker than one of compose.
func (s *stack) docker(t *testing.T, args ...string) string {
	t.Helper()
	return strings.TrimSpace(s.must(t, exec.Command("docker", args...)))
}

func (p port) ready() bool {
	client := http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	answer, err := client.Get(p.url() + "/readyz")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}

// awaitReady waits until the instance at the port is ready.
func (p port) awaitReady() error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(readyPatience); !p.ready(); <-tick.C {
		if time.Now().After(deadline) {
			return fmt.Errorf("the instance at %s is not ready after %v", p.url(), readyPatience)
		}
	}
	return nil
}
