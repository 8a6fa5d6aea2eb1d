package service

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// AllowDataLoss is the setting for instances on the databases of pgtest.New, whose
// server runs without fsync.
const AllowDataLoss = "ALLOW_DATA_LOSS=true"

// startPatience is for an instance to become ready: it migrates and connects, on a
// machine that may be busy with others.
const startPatience = 20 * time.Second

// Instance is a child that serves the API at a port of its own.
type Instance struct {
	*Child
	address string // empty until it has said it
}

// Start starts an instance on a database and returns once it is ready.
func Start(t testing.TB, databaseURL string, settings ...string) *Instance {
	t.Helper()
	in := Serve(t, databaseURL, settings...)
	in.AwaitReady(startPatience)
	return in
}

// Serve starts an instance and does not wait for it.
func Serve(t testing.TB, databaseURL string, settings ...string) *Instance {
	t.Helper()
	settings = append([]string{
		"DATABASE_URL=" + databaseURL, "LISTEN_ADDR=127.0.0.1:0",
		"ADMIN_ADDR=127.0.0.1:0",
		"SHARDED_UNTRIED=true", // the suites are the same in sharded mode
	}, settings...)
	return &Instance{Child: Launch(t, settings, "serve")}
}

// ServeOneFile starts examples/onefile on a database. It serves a part of the same API,
// and has no health checks: once it has a URL it is ready.
func ServeOneFile(t testing.TB, databaseURL string, settings ...string) *Instance {
	t.Helper()
	settings = append([]string{"DATABASE_URL=" + databaseURL, "LISTEN_ADDR=127.0.0.1:0"},
		settings...)
	return &Instance{Child: launch(t, exec.Command(buildOnce(t, builtOneFile)), settings)}
}

// URL is where the instance serves. It waits for the instance to say so.
func (in *Instance) URL() string {
	in.t.Helper()
	if in.address == "" {
		await.Until(in.t, startPatience, "the instance says where it serves", func() bool {
			if in.Ended() {
				in.t.Fatalf("the instance ended, with exit code %d", in.ExitCode())
			}
			in.address = in.said("serving", "address")
			return in.address != ""
		})
	}
	return "http://" + in.address
}

// AdminURL is where the instance serves health, metrics and profiles.
func (in *Instance) AdminURL() string {
	in.t.Helper()
	in.URL() // which it says last
	return "http://" + in.said("serving health, metrics and profiles", "address")
}

// said is the attribute of the first log line with that message; empty if there is none
// yet.
func (in *Instance) said(message, attribute string) string {
	lines := bufio.NewScanner(strings.NewReader(in.Stderr.String()))
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil && line["msg"] == message {
			value, _ := line[attribute].(string)
			return value
		}
	}
	return ""
}

// Readiness is what /readyz answers: 200, 503, or 0 where nobody answers within a
// second.
func (in *Instance) Readiness() int { return in.probe("/readyz") }

// Liveness is what /livez answers, like Readiness.
func (in *Instance) Liveness() int { return in.probe("/livez") }

// probe asks as a load balancer does: on a new connection, and not for long.
func (in *Instance) probe(path string) int {
	client := http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	answer, err := client.Get(in.URL() + path)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return 0
	}
	return answer.StatusCode
}

// AwaitReady waits for the instance to be ready, and ends the test if it is not within
// the limit.
func (in *Instance) AwaitReady(limit time.Duration) {
	in.t.Helper()
	in.URL() // which has a patience of its own
	await.Until(in.t, limit, "the instance is ready", func() bool {
		return in.Readiness() == http.StatusOK
	})
}

// AwaitNotReady waits for the instance to say that it is not ready: an answer, and not
// silence.
func (in *Instance) AwaitNotReady(limit time.Duration) {
	in.t.Helper()
	await.Until(in.t, limit, "the instance is not ready", func() bool {
		return in.Readiness() == http.StatusServiceUnavailable
	})
}
