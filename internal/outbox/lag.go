package outbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// Lag measures for how long the oldest running transaction has held the feed back. It
// may be any writing or prepared transaction of the cluster, in any database.
//
// Postgres says which transaction id is the oldest that runs, and not since when. But
// it also says which id it gives out next. So the transaction runs at least since the
// first sample whose next id was above it.
type Lag struct {
	mu      sync.Mutex // guards what follows
	samples []lagSample
	held    time.Duration
}

// lagSample is what the database said at a moment of its clock.
type lagSample struct {
	at     time.Time
	nextID uint64
}

// lagSamplesMax bounds the memory. A transaction that runs for longer than so many
// samples is timed less exactly.
const lagSamplesMax = 4096

// Sample asks the database, and updates the answer of Held. It is to be called every
// second or so.
func (l *Lag) Sample(ctx context.Context, db postgres.Querier) error {
	var oldest uint64
	var now lagSample
	if err := db.QueryRow(ctx, `
		SELECT pg_snapshot_xmin(s), pg_snapshot_xmax(s), clock_timestamp()
		FROM pg_current_snapshot() AS s`).Scan(&oldest, &now.nextID, &now.at); err != nil {
		return fmt.Errorf("looking for the oldest running transaction: %w", err)
	}
	l.add(now, oldest)
	return nil
}

func (l *Lag) add(now lagSample, oldest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.samples); n > 0 && now.nextID < l.samples[n-1].nextID {
		l.samples = nil // another server has taken over, whose ids are behind
	}
	for len(l.samples) > 0 && l.samples[0].nextID <= oldest {
		l.samples = l.samples[1:] // all transactions before it have ended
	}
	if n := len(l.samples); n == 0 || l.samples[n-1].nextID < now.nextID {
		l.samples = append(l.samples, now)
	}
	l.held = 0
	if l.samples[0].nextID > oldest {
		l.held = max(0, now.at.Sub(l.samples[0].at))
	}
	if len(l.samples) > lagSamplesMax {
		l.thinOut()
	}
}

// thinOut drops every second sample. The first one stays.
func (l *Lag) thinOut() {
	kept := l.samples[:0]
	for i, sample := range l.samples {
		if i%2 == 0 {
			kept = append(kept, sample)
		}
	}
	l.samples = kept
}

// Held is for how long the oldest running transaction held the feed back at the last
// sample; 0 if none ran, or none for longer than since the sample before.
func (l *Lag) Held() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}
