package wire

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// logMax bounds the log under load; a test that looks at it has far fewer statements.
const logMax = 100_000

// Statements returns the statements of all connections in the order in which they came.
func (p *Proxy) Statements() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make([]Seen, 0, len(p.log))
	for _, st := range p.log {
		seen = append(seen, st.copy())
	}
	return seen
}

// Transaction returns the statements of the latest explicit transaction with one that
// contains these words, BEGIN first: its length is the number of steps that a test can
// break. It is empty if there was none.
func (p *Proxy) Transaction(containing string) []Seen {
	words := normalize(containing)
	p.mu.Lock()
	defer p.mu.Unlock()
	var last *statement
	for _, st := range p.log {
		if st.seen.Step >= 0 && strings.Contains(st.text.normal, words) {
			last = st
		}
	}
	if last == nil {
		return nil
	}
	var steps []Seen
	for _, st := range p.log {
		if st.seen.Conn == last.seen.Conn && st.seen.Tx == last.seen.Tx {
			steps = append(steps, st.copy())
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
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.upstream)
	if err != nil {
		t.Fatalf("connecting past the proxy: %v", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		var alive int
		err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)`,
			p.endedPIDs()).Scan(&alive)
		if err != nil {
			t.Fatalf("waiting for %d backends to end: %v", alive, err)
		}
		if alive == 0 {
			return
		}
		<-again.C
	}
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
func (p *Proxy) see(s *session, sql text) *statement {
	tx, step := s.queue.place(sql)
	st := &statement{text: sql,
		seen: Seen{Conn: s.id, App: s.app, Tx: tx, Step: step, SQL: sql.sql}}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.log) == logMax {
		p.log = append(p.log[:0], p.log[logMax/2:]...)
	}
	p.log = append(p.log, st)
	return st
}

// note changes what the log says of a statement. Replies that belong to none are not in
// the log.
func (p *Proxy) note(st *statement, change func(*Seen)) {
	if st == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&st.seen)
}

func (st *statement) copy() Seen {
	seen := st.seen
	seen.Warnings = append([]string(nil), seen.Warnings...)
	return seen
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
