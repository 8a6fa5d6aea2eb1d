package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// LoadCommand is the command of paymentsvc that runs Generate.
const LoadCommand = "bench-load"

// Config says what to measure, and for how long.
type Config struct {
	Program  string // paymentsvc itself: it is started again, to serve and to generate load
	Onefile  string // the program of examples/onefile; empty: without it
	Accounts int    // of the merchant who charges

	// numbers of connections to the service; the first is the one for onefile and for
	// prices
	Connections []int
	// numbers of clients of pgbench; the first is the one that ratios are taken to
	Clients []int

	Rounds   int           // each measures every contender once
	Duration time.Duration // of a measurement
	WarmUp   time.Duration // before each
	Prices   bool          // also measure what each guarantee costs
	// where the database lies meanwhile: on a disk; empty: among the temporary files
	Scratch string
	Commit  string // what Program was built from; empty: what it says itself
}

const (
	connectionsMax = 1000
	clientsMax     = 150 // so that the server has connections left for everybody else
)

func (c Config) check() error {
	var problems []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	require(c.Accounts >= 2 && c.Accounts <= accountsMax, "accounts: %d is not from 2 to %d",
		c.Accounts, accountsMax)
	require(len(c.Connections) > 0 && slices.Min(c.Connections) >= 1 &&
		slices.Max(c.Connections) <= connectionsMax,
		"connections: %v are not from 1 to %d", c.Connections, connectionsMax)
	require(len(c.Clients) > 0 && slices.Min(c.Clients) >= 1 &&
		slices.Max(c.Clients) <= clientsMax,
		"clients: %v are not from 1 to %d", c.Clients, clientsMax)
	require(c.Rounds >= 1, "rounds: %d is below 1", c.Rounds)
	require(c.Duration >= 100*time.Millisecond, "the duration of a measurement: %v is below 100ms",
		c.Duration)
	require(c.WarmUp >= 0, "the warm-up: %v is below 0", c.WarmUp)
	return errors.Join(problems...)
}

// The contenders' names.
const (
	paymentsvcName = "paymentsvc"
	pgbenchName    = "pgbench"
	onefileName    = "examples/onefile"
)

// rank is the order in which contenders are shown; they are measured in another, so
// that rivals are neighbours.
func rank(name string) int {
	return slices.Index([]string{paymentsvcName, onefileName, pgbenchName}, name)
}

// contender is a subject under one load.
type contender struct {
	name string
	load Load
	subject
	server   *pgserver.Server
	measured []Measurement
}

func (c *contender) String() string {
	return fmt.Sprintf("%s, %s, %s", c.name, connections(c.load.Connections), c.load.Pattern)
}

func connections(n int) string { return strconv.Itoa(n) + " connections" }

// Run measures. Whatever happens, when it returns nothing of it is left: no process and
// no data. Where that went wrong after everything was measured, there is a report
// beside the error.
func Run(ctx context.Context, c Config, progress *Progress) (_ *Report, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s, err := newSite(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	report := &Report{
		Machine: s.machine(),
		Settings: Settings{
			Rounds: c.Rounds, Seconds: c.Duration.Seconds(), WarmUpSeconds: c.WarmUp.Seconds(),
			Accounts:    c.Accounts,
			Connections: c.Connections[0], Clients: c.Clients[0],
		},
	}
	if err := s.compare(ctx, report, progress); err != nil {
		return nil, err
	}
	if c.Prices {
		if err := s.price(ctx, report, progress); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// compare measures paymentsvc beside the others, and makes sure that the books are in
// order afterwards.
func (s *site) compare(ctx context.Context, report *Report, progress *Progress) error {
	progress.Say("starting a durable Postgres and the service")
	server, err := s.startServer(ctx, "durable", durable)
	if err != nil {
		return err
	}
	books, err := s.newBooks(ctx, server, "bench")
	if err != nil {
		return err
	}
	served, err := s.startPaymentsvc(ctx, books)
	if err != nil {
		return err
	}
	if s.answer, err = served.charge(ctx); err != nil {
		return err
	}
	var plain *service
	var plainURL string
	if s.config.Onefile != "" {
		if plain, plainURL, err = s.startOnefile(ctx, server); err != nil {
			return err
		}
	}
	contenders := s.contenders(server, served, s.newPgbench(books), plain)
	if err := s.alternate(ctx, contenders, progress); err != nil {
		return err
	}
	report.Results = results(contenders, s.config.Clients[0])
	slices.SortStableFunc(report.Results, func(a, b Result) int {
		return rank(a.Contender) - rank(b.Contender)
	})
	if peak, err := peakMemory(served.pid()); err == nil {
		report.PeakMemoryBytes = &peak
	}
	progress.Say("auditing the books")
	if report.Books, err = books.verify(ctx, contenders); err != nil || plain == nil {
		return err
	}
	return report.Books.verifyOnefile(ctx, plainURL, contenders)
}

// contenders are the subjects under every load, in the order in which they are
// measured: rivals are neighbours.
func (s *site) contenders(
	server *pgserver.Server, served *service, direct *pgbench, plain *service,
) (all []*contender) {
	for _, pattern := range []Pattern{Uniform, Hot} {
		add := func(name string, connections int, subject subject) {
			load := s.load(pattern, connections)
			all = append(all, &contender{name: name, load: load, subject: subject, server: server})
		}
		for i := range max(len(s.config.Connections), len(s.config.Clients)) {
			if i < len(s.config.Connections) {
				add(paymentsvcName, s.config.Connections[i], served)
			}
			if i < len(s.config.Clients) {
				add(pgbenchName, s.config.Clients[i], direct)
			}
		}
		if plain != nil {
			add(onefileName, s.config.Connections[0], plain)
		}
	}
	return all
}

// alternate measures every contender once a round.
func (s *site) alternate(ctx context.Context, contenders []*contender, progress *Progress) error {
	progress.Begin(s.config.Rounds * len(contenders))
	defer progress.End()
	for round := range s.config.Rounds {
		for _, c := range contenders {
			progress.Step(fmt.Sprintf("round %d of %d: %v", round+1, s.config.Rounds, c))
			if err := checkpoint(ctx, c.server.URL()); err != nil {
				return err
			}
			measured, err := c.measure(ctx, &meter{postgres: c.server.PID()}, c.load)
			if err != nil {
				return fmt.Errorf("measuring %v: %w", c, err)
			}
			if measured.Charges == 0 {
				return fmt.Errorf("measuring %v: it charged nothing in %v", c, s.config.Duration)
			}
			c.measured = append(c.measured, measured)
			progress.Done(fmt.Sprintf("%v: %s/s", c, thousands(measured.RatePerSecond)))
		}
	}
	return nil
}
