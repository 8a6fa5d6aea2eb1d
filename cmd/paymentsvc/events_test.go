package main

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// tail runs paymentsvc events tail until the end of the feed.
func (s shell) tail(args ...string) (code int, out, err string) {
	s.Helper()
	var stdout, stderr output
	args = append([]string{"events", "tail", "--no-follow", "--url", s.url}, args...)
	code = run(s.Context(), args, terminal{out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// cursorIn is the cursor that the command has printed at its end.
func (s shell) cursorIn(stderr string) string {
	s.Helper()
	match := regexp.MustCompile(`continue with --cursor (\S+)\n$`).FindStringSubmatch(stderr)
	if match == nil {
		s.Fatalf("no cursor is printed:\n%s", stderr)
	}
	return match[1]
}

// typesIn are the types of the printed events.
func (s shell) typesIn(printed string) (types []string) {
	s.Helper()
	for line := range strings.Lines(printed) {
		var event struct{ ID, Type string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.ID == "" {
			s.Fatalf("%q is no event: %v", line, err)
		}
		types = append(types, event.Type)
	}
	return types
}

func TestTailPrintsEventsAndGoesOn(t *testing.T) {
	address, apiKey := startDev(t)
	t.Setenv("API_KEY", apiKey)
	s := shell{t, "http://" + address}
	var stdout, stderr output
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"events", "tail", "--url", s.url},
			terminal{out: &stdout, err: &stderr})
	}()
	s.charge(t.Context(), "--from", "alice")
	s.charge(t.Context(), "--from", "alice", "--authorize-only")
	await.Until(t, time.Minute, "tail prints the charges", func() bool {
		return strings.Count(stdout.String(), "payment.authorized") == 1
	})
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	all := stdout.String()
	if got := s.typesIn(all); !slices.Equal(got[len(got)-2:],
		[]string{"payment.succeeded", "payment.authorized"}) {
		t.Errorf("it printed %v", got)
	}
	cursor := s.cursorIn(stderr.String())

	if code, out, err := s.tail("--from-start"); code != 0 || out != all {
		t.Errorf("from the start, exit code %d:\n%s%s", code, out, err)
	}
	if _, out, _ := s.tail("--lines", "1"); len(s.typesIn(out)) != 1 ||
		!strings.HasSuffix(all, out) {
		t.Errorf("the last line is %s", out)
	}
	if _, out, _ := s.tail("--type", "payment.authorized"); len(s.typesIn(out)) != 1 {
		t.Errorf("of that type are %s", out)
	}
	if code, out, err := s.tail("--cursor", cursor); code != 0 || out != "" ||
		s.cursorIn(err) != cursor {
		t.Errorf("at the end, exit code %d:\n%s%s", code, out, err)
	}
	s.charge(t.Context(), "--from", "alice")
	await.Until(t, time.Minute, "the new event is there", func() bool {
		_, out, _ := s.tail("--cursor", cursor)
		return len(s.typesIn(out)) == 1
	})

	for _, wrong := range []struct {
		args string
		code int
		says string
	}{
		{"--cursor= ", 2, "--cursor is empty"},
		{"--lines 101", 2, "--lines"},
		{"--from-start --cursor " + cursor, 2, "can't be used together"},
		{"--cursor " + cursor + " --type payment.declined", 1, "invalid_request"},
		{"--type none", 1, "invalid_request"},
	} {
		code, out, err := s.tail(strings.Fields(wrong.args)...)
		s.expect(wrong.args, code, wrong.code, err, wrong.says)
		if out != "" {
			t.Errorf("%s: it printed %s", wrong.args, out)
		}
	}
}
