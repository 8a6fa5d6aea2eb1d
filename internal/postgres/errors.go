package postgres

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors of a money transaction, and of [Confirm]. Any other error of a money transaction means that the database refused
// its data: nothing was committed, and the same data would be refused again.
var (
	// ErrUnavailable means that nothing was committed, because the database could not be reached or could not work.
	ErrUnavailable = errors.New("the database cannot be used right now")
	// ErrOutcomeUnknown means that a COMMIT was sent, and it could not be found out what became of it.
	ErrOutcomeUnknown = errors.New("it is unknown whether the transaction was committed")
)

// ErrAgain asks, when a unit of work returns it, for the whole transaction to be rolled back and run again: it read
// something that changed between two statements.
var ErrAgain = errors.New("the transaction must run again")

// fate is what an error means for the transaction that met it.
type fate int

const (
	fateRefused     fate = iota // rolled back; the same data would be refused again
	fateAgain                   // rolled back; another try may well succeed
	fateUnavailable             // rolled back or never begun; the database cannot work now
	fateUnknown                 // a COMMIT may have taken effect
)

// fateOf reads an error that the server reported in a transaction that is certainly not committed.
// Codes are from the PostgreSQL manual, appendix A.
func fateOf(err error) fate {
	if errors.Is(err, ErrAgain) {
		return fateAgain
	}
	var reported *pgconn.PgError
	if !errors.As(err, &reported) {
		return fateUnavailable // the connection failed, or could not be had
	}
	if reported.SeverityUnlocalized != "ERROR" {
		return fateUnavailable // FATAL and PANIC end the session: they are not about the data
	}
	switch reported.Code {
	case "40001", // serialization_failure
		"40P01", // deadlock_detected
		"0A000": // feature_not_supported: "cached plan must not change result type", after a migration
		return fateAgain
	case "25006", // read_only_sql_transaction: a standby, or a primary that was demoted
		"25P03", // idle_in_transaction_session_timeout
		"55P03", // lock_not_available: lock_timeout
		"28P01", // invalid_password: while it is being changed
		"3D000": // invalid_catalog_name: no such database (yet)
		return fateUnavailable
	}
	for _, class := range []string{"08" /* connection */, "53" /* resources */, "57" /* operator intervention */, "58" /* system */} {
		if strings.HasPrefix(reported.Code, class) {
			return fateUnavailable
		}
	}
	return fateRefused
}

// Unavailable tells whether an error of a read, or of [Confirm], means that the database cannot be used right now, and not that
// something is wrong with the question.
func Unavailable(err error) bool {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) {
		return true
	}
	if _, reported := errors.AsType[*pgconn.PgError](err); reported {
		return fateOf(err) != fateRefused
	}
	var refused *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &refused) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}
