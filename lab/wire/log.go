package wire

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/lab/await"
)

// Statements returns the statements of all connections in the order in which they came.
func (p *Proxy) Statements() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make([]Seen, 0, len(p.log))
	for _, st := range p.log {
		seen = append(seen, *st)
	}
	return seen
}

// Transaction returns the statements of the latest explicit transaction with one that
// contains these words, BEGIN first: its length is the number of steps that a test can
// break. It is empty if there was none.
func (p *Proxy) Transaction(containing string) (steps []Seen) {
	words := normalize(containing)
	seen := p.Statements()
	var last Seen
	for _, st := range seen {
		if st.Step >= 0 && strings.Contains(st.text.normal, words) {
			last = st
		}
	}
	for _, st := range seen {
		if st.Tx > 0 && st.Conn == last.Conn && st.Tx == last.Tx {
			steps = append(steps, st)
		}
	}
	return steps
}

// Forget empties the log.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = nil
}

// WaitBackendsGone returns when Postgres has ended every backend whose connection the
// proxy ended: their transactions are over and their locks are free.
func (p *Proxy) WaitBackendsGone(t testing.TB) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, p.upstream)
	if err != nil {
		t.Fatalf("connecting past the proxy: %v", err)
	}
	defer conn.Close(ctx)
	await.Until(t, waitLimit, "the backends end", func() bool {
		var gone bool
		err := conn.QueryRow(ctx,
			`SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ANY ($1))`,
			p.endedPIDs()).Scan(&gone)
		if err != nil {
			t.Fatalf("looking for backends: %v", err)
		}
		return gone
	})
}

func (p *Proxy) endedPIDs() []int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	pids := make([]int32, 0, len(p.ended))
	for pid := range p.ended {
		pids = append(pids, int32(pid))
	}
	return pids
}

// see puts a statement into the log.
func (p *Proxy) see(s *session, sql text) *Seen {
	tx, step := s.queue.place(sql)
	st := &Seen{Conn: s.id, App: s.app, Tx: tx, Step: step, SQL: sql.sql, text: sql}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, st)
	return st
}

// note writes a statement's outcome into the log. Some replies belong to no statement.
func (p *Proxy) note(st *Seen, outcome string) {
	if st == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	st.Outcome = outcome
}

// tail is the end of the log, for messages.
func (p *Proxy) tail() string {
	seen := p.Statements()
	var lines strings.Builder
	for _, st := range seen[max(0, len(seen)-20):] {
		lines.WriteString("  " + st.String() + "\n")
	}
	return lines.String()
}

// gone notes that the proxy ends, or is about to end, the session's backend.
func (p *Proxy) gone(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pid := s.backendPID.Load(); pid != 0 {
		p.ended[pid] = struct{}{}
	}
}

// forget takes a session out that has ended.
func (p *Proxy) forget(s *session) {
	p.gone(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
}
