package bench

import (
	"context"
	"fmt"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// everything is the variant to which the others are compared.
const everything = "everything on"

// variant is a charge without one guarantee. Each variant has a database of its own, so
// that all begin with tables of the same size. These books are not audited, because a
// missing guarantee breaks them.
type variant struct {
	subject    string // paymentsvc or pgbench
	name       string
	without    string // left out of pgbench.sql
	options    string // of pgbench's sessions
	disable    string // SQL that disables triggers
	notDurable bool   // on a server without fsync
	// The tables were analyzed while they were empty, and not again: the worst moment for
	// the server's plans.
	analyzedEmpty bool
	subscribed    bool // a webhook endpoint and a NATS server get every event
}

const (
	disableTriggers = `
		ALTER TABLE idempotency_keys DISABLE TRIGGER USER;
		ALTER TABLE payments DISABLE TRIGGER USER;
		ALTER TABLE entries DISABLE TRIGGER USER`
	// without keys, this trigger would refuse every payment
	disableKeyTrigger = `ALTER TABLE payments DISABLE TRIGGER payments_claimed_by_key`
)

// variants are the guarantees that can be left out. The service has no switch for its
// guarantees. Those of the database are measured on the service too. The others are
// measured on the same statements in pgbench.
var variants = []variant{
	{subject: paymentsvcName, name: everything},
	{subject: paymentsvcName, name: "without triggers", disable: disableTriggers},
	{subject: paymentsvcName, name: "without durability (fsync off)", notDurable: true},
	{subject: paymentsvcName, name: "everything on, analyzed while empty", analyzedEmpty: true},
	{
		subject: paymentsvcName, name: "everything on, to one webhook endpoint and NATS",
		subscribed: true,
	},
	{subject: pgbenchName, name: everything},
	{
		subject: pgbenchName, name: "without keys and answers", without: "keys",
		disable: disableKeyTrigger,
	},
	{subject: pgbenchName, name: "without events", without: "events"},
	{subject: pgbenchName, name: "without triggers", disable: disableTriggers},
	{
		subject: pgbenchName, name: "without waiting for the disk (synchronous_commit off)",
		options: "-c synchronous_commit=off",
	},
	{subject: pgbenchName, name: "without durability (fsync off)", notDurable: true},
}

// price measures the cost of each guarantee, with the first number of connections.
func (s *site) price(ctx context.Context, report *Report, progress *Progress) error {
	progress.Say("preparing to measure what each guarantee costs")
	durable, err := s.startServer(ctx, pgserver.Options{DataDir: "prices-durable", Durable: true})
	if err != nil {
		return err
	}
	forgetful, err := s.startServer(ctx, pgserver.Options{DataDir: "prices-forgetful"})
	if err != nil {
		return err
	}
	var contenders []*contender
	for i, v := range variants {
		c := &contender{
			name:   v.subject + " " + v.name,
			load:   s.load(Uniform, s.config.Connections[0]),
			server: durable,
		}
		if v.notDurable {
			c.server = forgetful
		}
		if c.subject, err = s.prepare(ctx, c.server, fmt.Sprintf("variant_%d", i), v); err != nil {
			return fmt.Errorf("preparing %s: %w", c.name, err)
		}
		contenders = append(contenders, c)
	}
	if err := s.alternate(ctx, contenders, progress); err != nil {
		return err
	}
	report.Prices = prices(contenders)
	return nil
}

// booksOf makes the database of a variant.
func (s *site) booksOf(
	ctx context.Context, server *pgserver.Server, name string, v variant,
) (books, error) {
	if !v.analyzedEmpty {
		return s.newBooks(ctx, server, name)
	}
	b, err := s.emptyBooks(ctx, server, name)
	if err != nil {
		return b, err
	}
	if err := execute(ctx, b.url, `ANALYZE`); err != nil {
		return b, err
	}
	return b, s.addAccounts(ctx, b)
}

// prepare makes the database of a variant, and starts its service.
func (s *site) prepare(
	ctx context.Context, server *pgserver.Server, database string, v variant,
) (prepared subject, err error) {
	books, err := s.booksOf(ctx, server, database, v)
	if err != nil {
		return nil, err
	}
	switch {
	case v.subject == pgbenchName:
		p := s.newPgbench(books)
		p.without, p.options = v.without, v.options
		prepared = p
	case v.subscribed:
		prepared, err = s.startSubscribed(ctx, books)
	default:
		prepared, err = s.startService(ctx, books, []string{s.program, "serve"},
			fmt.Sprintf("ALLOW_DATA_LOSS=%t", v.notDurable))
	}
	if err != nil || v.disable == "" {
		return prepared, err
	}
	// not earlier: the service does not start without its triggers
	return prepared, execute(ctx, books.url, v.disable)
}
