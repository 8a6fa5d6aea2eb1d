package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
)

// Pattern says which accounts a charge touches.
type Pattern string

// The patterns. Hot is where a transaction a charge ends: every one of them waits for
// the same row.
const (
	Uniform Pattern = "uniform" // two of all accounts, at random
	Hot     Pattern = "hot"     // one and the same account, and another at random
)

// Accounts are numbered, and their ids have five digits: all requests have one length,
// and ids sort like numbers, which is what lets pgbench lock two accounts in one order.
const (
	firstAccount = 10_000
	accountsMax  = 90_000
)

func accountID(i int) string { return strconv.Itoa(firstAccount + i) }

// Load is what the load generator is told to do. It reads it from its standard input,
// as JSON.
type Load struct {
	Address     string  `json:"address"`
	APIKey      string  `json:"api_key"`
	Connections int     `json:"connections"`
	Accounts    int     `json:"accounts"`
	Pattern     Pattern `json:"pattern"`
	WarmUp      seconds `json:"warm_up_seconds"`
	Duration    seconds `json:"seconds"`
}

// seconds is a time.Duration that JSON can hold.
type seconds float64

func (s seconds) duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// outcome is what the load generator has seen. It is the last line that it prints, as
// JSON.
type outcome struct {
	Made          int     `json:"made"`    // charges answered, from the first to the last
	Charges       int     `json:"charges"` // of these, the ones answered within the window
	WindowSeconds float64 `json:"window_seconds"`
	P50Millis     float64 `json:"p50_ms"`
	P99Millis     float64 `json:"p99_ms"`
}

// The load generator prints these lines at the two ends of the window, so that whoever
// started it can read everybody's CPU time at these moments.
const (
	beginLine = "begin"
	endLine   = "end"
)

// Generate is the load generator: it charges on all connections at once, each sending
// its next charge when the last is answered, first for the warm-up and then for the
// duration. It gives up at the first answer that is not what it should be, because
// there is nothing to measure then.
func Generate(ctx context.Context, in io.Reader, out io.Writer) error {
	var load Load
	if err := json.UnmarshalRead(in, &load); err != nil {
		return fmt.Errorf("reading what load to generate: %w", err)
	}
	g := &generator{load: load}
	clients, err := g.connect(ctx)
	if err != nil {
		return err
	}
	begin, end, err := g.run(ctx, clients, out)
	if err != nil {
		return err
	}
	return json.MarshalWrite(out, judge(clients, begin, end))
}

// generator runs the clients, a goroutine and a connection each.
type generator struct {
	load    Load
	stopped atomic.Bool
}

func (g *generator) connect(ctx context.Context) ([]*client, error) {
	clients := make([]*client, g.load.Connections)
	for i := range clients {
		c, err := dial(ctx, g.load)
		if err != nil {
			return nil, err
		}
		clients[i] = c
	}
	return clients, nil
}

// run charges until the window is over, and returns when the last charge is answered.
func (g *generator) run(
	ctx context.Context, clients []*client, out io.Writer,
) (begin, end time.Time, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	defer running.Wait()
	defer g.stopped.Store(true)
	for _, c := range clients {
		running.Go(func() {
			defer c.close()
			if err := c.chargeUntil(&g.stopped); err != nil {
				fail(err)
			}
		})
	}
	// A client that waits for an answer is woken by the end of its connection.
	defer context.AfterFunc(ctx, func() {
		for _, c := range clients {
			c.close()
		}
	})()
	if begin, err = g.announce(ctx, out, g.load.WarmUp.duration(), beginLine); err != nil {
		return begin, end, err
	}
	if end, err = g.announce(ctx, out, g.load.Duration.duration(), endLine); err != nil {
		return begin, end, err
	}
	g.stopped.Store(true)
	running.Wait()
	return begin, end, context.Cause(ctx)
}

// announce waits and then prints a line; it returns the moment of it.
func (g *generator) announce(
	ctx context.Context, out io.Writer, wait time.Duration, line string,
) (time.Time, error) {
	select {
	case <-ctx.Done():
		return time.Time{}, context.Cause(ctx)
	case <-time.After(wait):
	}
	now := time.Now()
	_, err := fmt.Fprintln(out, line)
	return now, err
}

// judge counts what was answered within the window.
func judge(clients []*client, begin, end time.Time) outcome {
	made := 0
	var latencies []time.Duration
	for _, c := range clients {
		made += len(c.answers)
		for _, a := range c.answers {
			if !a.at.Before(begin) && a.at.Before(end) {
				latencies = append(latencies, a.took)
			}
		}
	}
	return newOutcome(made, latencies, end.Sub(begin))
}

func newOutcome(made int, latencies []time.Duration, window time.Duration) outcome {
	slices.Sort(latencies)
	return outcome{
		Made:          made,
		Charges:       len(latencies),
		WindowSeconds: window.Seconds(),
		P50Millis:     millis(percentile(latencies, 50)),
		P99Millis:     millis(percentile(latencies, 99)),
	}
}
