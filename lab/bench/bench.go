package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// Config is the load and the length of a run, as flags of the command line.
type Config struct {
	Seconds     float64 `help:"How long each measurement takes." default:"5"`
	WarmUp      float64 `help:"Seconds before each that do not count." default:"1"`
	Rounds      int     `help:"Measurements of everything; the report has medians." default:"3"`
	Accounts    int     `help:"Accounts that charges move money between." default:"10000"`
	Merchants   int     `help:"Merchants to charge, which share the accounts." default:"1"`
	Sharded     bool    `help:"Sharded mode: a transaction has charges of one merchant."`
	Connections []int   `help:"Numbers of connections to the service." default:"64,256"`
	Clients     []int   `help:"Numbers of clients of pgbench." default:"64,16"`
	Prices      bool    `help:"Also measure the cost of each guarantee: keys, events and others."`
	Onefile     string  `help:"Also measure this build of examples/onefile." placeholder:"PATH"`
	Scratch     string  `help:"Directory of the database. (default: TMPDIR)" placeholder:"DIR"`
	Commit      string  `help:"Name of this build in the report." placeholder:"NAME"`
}

func (c Config) check() error {
	between := func(name string, low, high int, values ...int) error {
		if len(values) == 0 || slices.Min(values) < low || slices.Max(values) > high {
			return fmt.Errorf("%s: %v is not from %d to %d", name, values, low, high)
		}
		return nil
	}
	errs := []error{
		between("accounts", 2, accountsMax, c.Accounts),
		between("merchants", 1, max(c.Accounts/2, 1), c.Merchants),
		between("connections", 1, 1000, c.Connections...),
		// the server has 200 connections for pgbench, the service and the checks
		between("clients", 1, 150, c.Clients...),
		between("rounds", 1, 1000, c.Rounds),
	}
	if c.Seconds < 0.1 || c.WarmUp < 0 {
		errs = append(errs, fmt.Errorf("seconds: %v is below 0.1, or the warm-up %v is below 0",
			c.Seconds, c.WarmUp))
	}
	if c.Merchants > 1 && (c.Prices || c.Onefile != "") {
		errs = append(errs, errors.New("merchants: prices and onefile have one merchant"))
	}
	return errors.Join(errs...)
}

// The contenders' names.
const (
	paymentsvcName = "paymentsvc"
	pgbenchName    = "pgbench"
	onefileName    = "examples/onefile"
)

// contender is a subject under one load.
type contender struct {
	name string
	load load
	subject
	server   *pgserver.Server
	measured []Measurement   // one of each round
	quiet    []time.Duration // the latencies of a quiet merchant, of all rounds
}

func (c *contender) String() string {
	return fmt.Sprintf("%s, %d connections, %s", c.name, c.load.connections, c.load.pattern)
}

// Run measures. When it returns, all its processes have ended and its data is removed,
// even after an error. If only that failed, both a report and an error are returned.
func Run(ctx context.Context, c Config, progress *Progress) (report *Report, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s, err := newSite(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() {
		progress.Say("removing the data")
		err = errors.Join(err, s.close())
	}()
	report = &Report{Settings: c.settings()}
	if report.Machine, err = s.machine(); err != nil {
		return nil, err
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

// compare measures paymentsvc beside the others, and then audits the books.
func (s *site) compare(ctx context.Context, report *Report, progress *Progress) error {
	progress.Say("starting a durable Postgres and the service")
	options := pgserver.Options{DataDir: "durable", Durable: true}
	if s.config.Sharded {
		options.Parameters = map[string]string{"paymentsvc.sharded": "on"}
	}
	server, err := s.startServer(ctx, options)
	if err != nil {
		return err
	}
	books, err := s.newBooks(ctx, server, "bench")
	if err != nil {
		return err
	}
	served, err := s.startService(ctx, books, []string{s.program, "serve"})
	if err != nil {
		return err
	}
	if s.answer, err = served.chargeOnce(ctx); err != nil {
		return err
	}
	var plain *service
	if s.config.Onefile != "" {
		if plain, err = s.startOnefile(ctx, books); err != nil {
			return err
		}
	}
	contenders := s.contenders(server, served, s.newPgbench(books), plain)
	if err := s.alternate(ctx, contenders, progress); err != nil {
		return err
	}
	report.Results = results(contenders)
	report.PeakMemoryBytes = peakMemory(served.pid())
	progress.Say("auditing the books")
	report.Books, err = books.verify(ctx, contenders)
	return err
}

// contenders are the subjects under every load. There may be no onefile.
func (s *site) contenders(
	server *pgserver.Server, served *service, direct *pgbench, plain *service,
) (all []*contender) {
	for _, pattern := range []Pattern{Uniform, Hot} {
		add := func(name string, subject subject, connections ...int) {
			for _, n := range connections {
				all = append(all, &contender{
					name: name, load: s.load(pattern, n), subject: subject, server: server,
				})
			}
		}
		add(paymentsvcName, served, s.config.Connections...)
		if plain != nil {
			add(onefileName, plain, s.config.Connections[0])
		}
		add(pgbenchName, direct, s.config.Clients...)
	}
	return all
}

// alternate measures every contender once in each round.
func (s *site) alternate(ctx context.Context, contenders []*contender, progress *Progress) error {
	total := s.config.Rounds * len(contenders)
	progress.Step(0, total, "measuring")
	for step := range total {
		c := contenders[step%len(contenders)]
		// A checkpoint writes the changes of earlier measurements to the disk.
		if err := execute(ctx, c.server.URL(), `CHECKPOINT`); err != nil {
			return err
		}
		measured, quiet, err := c.measure(ctx)
		if err != nil {
			return fmt.Errorf("measuring %v: %w", c, err)
		}
		c.measured = append(c.measured, measured)
		c.quiet = append(c.quiet, quiet...)
		progress.Step(step+1, total, fmt.Sprintf("%v: %s/s", c, thousands(measured.RatePerSecond)))
	}
	return nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
