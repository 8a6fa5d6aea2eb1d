package bench

import (
	"context"
	"fmt"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// everything is the variant that the others are compared with.
const everything = "everything on"

// variant is a charge with one guarantee left out. Each has a database of its own, so
// that none finds larger tables than another. Their books are not audited: leaving out
// a guarantee is what breaks them.
type variant struct {
	subject  string // paymentsvc or pgbench
	name     string
	without  string            // what pgbench.sql leaves out
	settings map[string]string // of pgbench's sessions
	disable  string            // SQL that disables triggers
	server   durability
}

const (
	disableTriggers = `
		ALTER TABLE idempotency_keys DISABLE TRIGGER USER;
		ALTER TABLE payments DISABLE TRIGGER USER;
		ALTER TABLE entries DISABLE TRIGGER USER`
	// Without a key there is nothing that this trigger could find.
	disableKeyTrigger = `ALTER TABLE payments DISABLE TRIGGER payments_claimed_by_key`
)

// variants are what can be left out. The service itself has no switch for its
// guarantees; what its database can be told is measured on the service, and the rest on
// the same statements run by pgbench.
func variants() []variant {
	return []variant{
		{subject: paymentsvcName, name: everything, server: durable},
		{
			subject: paymentsvcName, name: "without triggers", server: durable,
			disable: disableTriggers,
		},
		{subject: paymentsvcName, name: "without durability (fsync off)", server: notDurable},
		{subject: pgbenchName, name: everything, server: durable},
		{
			subject: pgbenchName, name: "without keys and answers", server: durable,
			without: "keys", disable: disableKeyTrigger,
		},
		{subject: pgbenchName, name: "without events", server: durable, without: "events"},
		{
			subject: pgbenchName, name: "without triggers", server: durable,
			disable: disableTriggers,
		},
		{
			subject: pgbenchName, name: "without waiting for the disk (synchronous_commit off)",
			server:   durable,
			settings: map[string]string{"synchronous_commit": "off"},
		},
		{subject: pgbenchName, name: "without durability (fsync off)", server: notDurable},
	}
}

// price measures what each guarantee costs, in rounds that alternate too, with the
// first number of connections.
func (s *site) price(ctx context.Context, report *Report, progress *Progress) error {
	progress.Say("preparing to measure what each guarantee costs")
	servers := map[durability]*pgserver.Server{}
	for name, d := range map[string]durability{"prices-durable": durable,
		"prices-forgetful": notDurable} {
		server, err := s.startServer(ctx, name, d)
		if err != nil {
			return err
		}
		servers[d] = server
	}
	var contenders []*contender
	for i, v := range variants() {
		server := servers[v.server]
		subject, err := s.prepare(ctx, server, fmt.Sprintf("variant_%d", i), v)
		if err != nil {
			return fmt.Errorf("preparing %s %s: %w", v.subject, v.name, err)
		}
		contenders = append(contenders, &contender{
			name:    v.subject + " " + v.name,
			load:    s.load(Uniform, s.config.Connections[0]),
			subject: subject,
			server:  server,
		})
	}
	if err := s.alternate(ctx, contenders, progress); err != nil {
		return err
	}
	report.Prices = prices(variants(), contenders)
	return nil
}

// prepare makes the variant's database, and starts its service.
func (s *site) prepare(
	ctx context.Context, server *pgserver.Server, database string, v variant,
) (subject, error) {
	books, err := s.newBooks(ctx, server, database)
	if err != nil {
		return nil, err
	}
	var prepared subject
	if v.subject == pgbenchName {
		p := s.newPgbench(books)
		p.without, p.settings = v.without, v.settings
		prepared = p
	} else {
		var settings []string
		if v.server == notDurable {
			settings = append(settings, "ALLOW_DATA_LOSS=true")
		}
		if prepared, err = s.startPaymentsvc(ctx, books, settings...); err != nil {
			return nil, err
		}
	}
	if v.disable == "" {
		return prepared, nil
	}
	// the service would not start without its triggers
	return prepared, execute(ctx, books.url, v.disable)
}
