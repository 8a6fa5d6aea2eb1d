package payments

import "github.com/paymentsvc/paymentsvc/internal/postgres"

// Stats say how the service is doing.
type Stats struct {
	Waiting      int // callers whose charge is in no transaction yet
	Blocked      int // callers that wait for a row that another session has locked
	Transactions postgres.CommitterStats
}

// Stats are those of this moment.
func (s *Service) Stats() Stats {
	return Stats{
		Waiting:      s.group.Waiting(),
		Blocked:      s.busy.looks.Waiting(),
		Transactions: s.committer.Stats(),
	}
}

// Full tells whether another charge would be turned away now, because too many wait
// already.
func (s *Service) Full() bool { return s.group.Waiting() >= s.queueMax }

// Failing returns an error if every transaction of the last second failed because of the
// database.
func (s *Service) Failing() error { return s.committer.Failing() }

// Recovered tells the service that the database works again.
func (s *Service) Recovered() { s.committer.Recovered() }
