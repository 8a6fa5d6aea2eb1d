package postgres

import "time"

// failure is a row of runs that failed because of the database.
type failure struct {
	since time.Time
	runs  int
	err   error // of the latest
}

// Failing returns the latest error if every run of the last second failed because of the
// database, and there were at least two; else nil.
func (c *Committer) Failing() error {
	f := c.failing.Load()
	if f == nil || f.runs < 2 || time.Since(f.since) < time.Second {
		return nil
	}
	return f.err
}

// Recovered ends a row of failures: the database works again, as far as it is known.
func (c *Committer) Recovered() { c.failing.Store(nil) }

func (c *Committer) note(result outcome, err error) {
	switch result {
	case committed, rejected:
		c.failing.Store(nil)
	case unavailable, unknown:
		before := c.failing.Load()
		now := &failure{since: time.Now(), runs: 1, err: err}
		if before != nil {
			now.since, now.runs = before.since, before.runs+1
		}
		c.failing.CompareAndSwap(before, now) // a success meanwhile counts more
	case conflicted:
	}
}
