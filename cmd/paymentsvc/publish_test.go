package main

import (
	"strings"
	"testing"
)

// The exit code and the message tell a script what to do with the key.
func TestPublishFromAShell(t *testing.T) {
	startDev(t)
	publish := func(args string) (code int, out, err string) {
		var stdout, stderr output
		code = run(t.Context(), append(strings.Fields("publish --currency USD --to shop"),
			strings.Fields(args)...), terminal{out: &stdout, err: &stderr})
		return code, stdout.String(), stderr.String()
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--amount 1 --from alice --key a,b", 0, ""}, // a comma has to be quoted
		{"--amount 1 --from alice --key a,b", 0, "replayed"},
		{"--amount 2 --from alice --key a,b", 1, "idempotency_key_reused"},
		{"--amount 1 --from bob --key poor", 1, "insufficient_funds"},
		{"--amount 1 --from nobody --key wrong", 1, "account_not_found"},
		{"--amount 1 --from alice --key x --merchant 1", 1, `"code":"not_found"`}, // parked
		{"--amount 1 --from alice --key x --nats-url nats://127.0.0.1:1", 1, "nothing was sent"},
		{"--amount 1 --from alice --key x --nats-url nats://u:secret@127.0.0.1:1", 1, "nothing"},
		{"--amount 1 --from alice --key x --nats-url nats://u:secret%@h", 1, "nothing"},
		{"--amount 1 --from alice", 2, "--key"},
		{"--amount 1 --from alice --key=", 2, "--key is empty"},
		{"--amount 1 --from alice --key x --reference=", 2, "--reference is empty"},
	} {
		code, out, err := publish(c.args)
		if code != c.code || !strings.Contains(err, c.says) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", c.args, code, c.code, c.says, err)
		}
		if strings.Contains(err, "secret") {
			t.Errorf("%s: the message shows the password: %s", c.args, err)
		}
		if (out != "") != (c.code == 0) {
			t.Errorf("%s: exit code %d, and it printed %q", c.args, code, out)
		}
	}
}
