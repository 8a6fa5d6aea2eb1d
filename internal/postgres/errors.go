package postgres

import (
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors of a money transaction. Any other error means that the database rejected
// its data: nothing was committed, and the same data would be rejected again.
var (
	// ErrUnavailable means that nothing was committed: the database could not be
	// reached or could not work.
	ErrUnavailable = errors.New("the database cannot be used right now")
	// ErrOutcomeUnknown means that a COMMIT was sent, and its outcome could not be
	// found out.
	ErrOutcomeUnknown = errors.New("it is unknown whether the transaction was committed")
)

// Errors of a new connection that must not be used.
var (
	ErrPooler = errors.New("there is a connection pooler between the service and Postgres, and " +
		"the service relies on the settings of its own sessions: let the URL lead to Postgres " +
		"itself")
	ErrSettingLost = errors.New("a new session does not have the settings that it was opened with")
)

// ErrNotConfirmed is the error of [Confirm] when the write succeeded, but is not known
// to be on a standby yet.
var ErrNotConfirmed = errors.New(
	"it is done, but whether a standby of the database has it cannot be told right now; the " +
		"same request again is safe (with an If-Match that names a version it may then be " +
		"answered with 412)")

// ErrAgain asks, when a unit of work returns it, for the whole transaction to be rolled
// back and run again: it read something that changed between two statements.
var ErrAgain = errors.New("the transaction must run again")

// lockNotAvailable is the code of lock_timeout.
const lockNotAvailable = "55P03"

// LockTimedOut tells whether a transaction failed because it waited too long for a lock.
func LockTimedOut(err error) bool {
	reported, ok := errors.AsType[*pgconn.PgError](err)
	return ok && reported.Code == lockNotAvailable
}

// outcome is what became of one run of a transaction.
type outcome int

const (
	rejected    outcome = iota // rolled back; the same data would be rejected again
	conflicted                 // rolled back; another run may well succeed
	unavailable                // rolled back or never begun; the database cannot work now
	unknown                    // the COMMIT may have taken effect
	committed
)

// ofUnit tells whether an error on a connection that works is the unit's own: it could
// not read a row, for example.
func ofUnit(err error) bool {
	_, reported := errors.AsType[*pgconn.PgError](err)
	return !reported && !errors.Is(err, ErrAgain)
}

// outcomeOf reads the error of a transaction that is certainly not committed: the unit's
// own, the server's or the connection's. Codes are from the PostgreSQL manual, appendix A.
func outcomeOf(err error) outcome {
	if errors.Is(err, ErrAgain) {
		return conflicted
	}
	var reported *pgconn.PgError
	if !errors.As(err, &reported) {
		return unavailable // the connection failed, or could not be had
	}
	if reported.SeverityUnlocalized != "ERROR" {
		return unavailable // FATAL and PANIC end the session: they are not about the data
	}
	switch reported.Code {
	case "40001", // serialization_failure
		"40P01", // deadlock_detected: the server broke the circle by rolling this one back
		// feature_not_supported: "cached plan must not change result type", after a
		// migration
		"0A000",
		lockNotAvailable:
		return conflicted
	case "25006", // read_only_sql_transaction: a standby, or a primary that was demoted
		"25P03", // idle_in_transaction_session_timeout
		"28P01", // invalid_password: while it is being changed
		"3D000": // invalid_catalog_name: no such database (yet)
		return unavailable
	}
	for _, class := range []string{
		"08", // connection
		"53", // resources
		"57", // operator intervention
		"58", // system
	} {
		if strings.HasPrefix(reported.Code, class) {
			return unavailable
		}
	}
	return rejected
}

// Unavailable tells whether an error of a read, or of [Confirm], means that the
// database cannot be used right now. The alternative is that something is wrong with
// the query.
func Unavailable(err error) bool {
	if errors.Is(err, ErrPooler) || errors.Is(err, ErrSettingLost) {
		return false
	}
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) ||
		errors.Is(err, ErrNotConfirmed) {
		return true
	}
	if _, reported := errors.AsType[*pgconn.PgError](err); reported {
		return outcomeOf(err) != rejected
	}
	var connecting *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connecting) || errors.As(err, &network) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}
