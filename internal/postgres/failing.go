package postgres

import "time"

type failure struct {
	since time.Time
	err   error
}

// Failing returns the latest error if for at least a second every run has failed, and for
// the database's sake; else nil.
func (c *Committer) Failing() error {
	if f := c.failing.Load(); f != nil && time.Since(f.since) >= time.Second {
		return f.err
	}
	return nil
}

// Recovered ends a state of failing: the database works again, as far as it is known.
func (c *Committer) Recovered() { c.failing.Store(nil) }

func (c *Committer) note(result outcome, err error) {
	switch result {
	case committed, rejected:
		c.failing.Store(nil)
		return
	case conflicted:
		return
	case unavailable, unknown:
	}
	next := &failure{since: time.Now(), err: err}
	if f := c.failing.Load(); f != nil {
		next.since = f.since
	}
	c.failing.Store(next)
}
