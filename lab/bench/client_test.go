package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// charged is what a charge's request says.
type charged struct {
	Amount      int    `json:"amount"`
	Currency    string `json:"currency"`
	Source      string `json:"source_account"`
	Destination string `json:"destination_account"`
	key         string
}

// serve answers charges, each with what respond makes of it, and returns where.
func serve(t *testing.T, respond func(charged) string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for {
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			body, err := io.ReadAll(r.Body)
			var c charged
			asked := r.URL.Path == "/payments" && r.Header.Get("Authorization") == "Bearer sk_test"
			if err != nil || json.Unmarshal(body, &c) != nil || !asked {
				_, _ = io.WriteString(conn, reply("400 Bad Request", "", string(body)))
				return
			}
			c.key = r.Header.Get("Idempotency-Key")
			_, _ = io.WriteString(conn, respond(c))
		}
	}()
	return listener.Addr().String()
}

func reply(status, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nDate: today\r\n%scontent-length: %d\r\n\r\n%s", status,
		headers, len(body), body)
}

func created(c charged) string {
	return reply("201 Created", "",
		fmt.Sprintf(`{"id":"pay_1","amount":%d,"currency":"USD"}`, c.Amount))
}

func newClient(t *testing.T, address string, pattern Pattern) *client {
	t.Helper()
	c, err := dial(t.Context(),
		Load{Address: address, APIKey: "sk_test", Accounts: 5, Pattern: pattern})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestChargesHaveNewKeysAndTheAccountsOfTheirPattern(t *testing.T) {
	t.Parallel()
	const charges = 200
	for _, pattern := range []Pattern{Uniform, Hot} {
		var seen []charged
		c := newClient(t, serve(t, func(c charged) string {
			seen = append(seen, c)
			return created(c)
		}), pattern)
		for range charges {
			if err := c.charge(); err != nil {
				t.Fatal(err)
			}
		}
		if len(c.answers) != charges {
			t.Errorf("%s: %d charges gave %d latencies", pattern, charges, len(c.answers))
		}
		keys, sources, destinations := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, charge := range seen {
			keys[charge.key], sources[charge.Source], destinations[charge.Destination] = true,
				true, true
			hot := charge.Source == accountID(0) || charge.Destination == accountID(0)
			if charge.Source == charge.Destination || pattern == Hot && !hot ||
				!wellFormed.MatchString(charge.key) {
				t.Fatalf("%s: %+v", pattern, charge)
			}
		}
		if len(keys) != charges || len(sources) != 5 || len(destinations) != 5 {
			t.Errorf("%s: %d charges had %d keys, %d sources and %d destinations",
				pattern, charges, len(keys), len(sources), len(destinations))
		}
	}
}

var wellFormed = regexp.MustCompile(`^[0-9a-f]{32}$`)

func TestAWrongAnswerEndsTheMeasurement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(charged) string
		want   string
	}{
		"declined": {func(c charged) string {
			return reply("402 Payment Required", "", `{"amount":1}`)
		}, "402"},
		"another amount": {func(c charged) string {
			c.Amount++
			return created(c)
		}, "answered 201"},
		"more digits": {func(c charged) string {
			c.Amount *= 10
			return created(c)
		}, "answered 201"},
		"no amount": {func(charged) string {
			return reply("201 Created", "", `{}`)
		}, "answered 201"},
		"a replay": {func(c charged) string {
			return strings.Replace(created(c), "Date", "idempotent-replayed: true\r\nDate", 1)
		}, "answer to another"},
		"no length": {func(charged) string { return "HTTP/1.1 201 Created\r\n\r\n" }, "-1 bytes"},
		"no HTTP":   {func(charged) string { return "hello\n" }, "not an HTTP answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := newClient(t, serve(t, c.answer), Uniform).charge()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
