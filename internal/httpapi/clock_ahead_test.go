package httpapi_test

import (
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The database's clock was an hour ahead, and was set right: the accounts' last entry
// is of the future. An account's history never goes back, so the next entry gets the
// time of the last. Retention and authorizations are judged by the database's clock
// alone.
func TestClockThatWasAheadMovesNothingButTheEntries(t *testing.T) {
	t.Parallel()
	const ahead, half, lifetime = time.Hour, 30 * time.Minute, 40 * time.Minute
	db := pgtest.New(t)
	databaseClock := newClock(t, db, ahead)
	in := newInstanceWith(t, db.URL, settings{lifetime: lifetime, retention: lifetime})
	m := newMerchant(t, db, in, in)

	before := m.charge("before", aliceToShop(1)).want(201)
	early := m.authorize("early", 2)
	databaseClock.forward(ahead)
	future := m.createdAt(m.charge("future", aliceToShop(4)).want(201))
	databaseClock.forward(-ahead)

	after := m.charge("after", aliceToShop(8)).want(201)
	if at := m.createdAt(after); !at.Equal(future) {
		after.fail("was made at %s, and the account's last entry at %s", at, future)
	}
	// Were the account's time the judge, the answer and the authorization would be
	// over.
	m.retry("before", aliceToShop(1)).wantReplayOf(before)
	m.post("capture", early+"/capture", "").want(200)

	// Were it the judge, this one would have an hour more.
	late := m.authorize("late", 16)
	databaseClock.forward(half)
	m.wantExpiredAuthorizations(in, 0)
	databaseClock.forward(lifetime - half)
	m.post("late capture", late+"/capture", "").wantProblem("invalid_state")
	m.wantExpiredAuthorizations(in, 1)
	m.wantBalance("shop", 1+2+4+8)
}

func (m *merchant) createdAt(a *answer) time.Time {
	m.t.Helper()
	var made struct {
		CreatedAt time.Time `json:"created_at"`
	}
	a.decode(&made)
	return made.CreatedAt
}

// A rule may be younger than a stored answer. The answer is replayed for as long as any
// other: its retention is counted by the database's clock.
func TestReplayAgainstAYoungerRuleEndsByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	const keptFor, behind, moment = 30 * time.Minute, time.Hour, time.Minute
	db := pgtest.New(t)
	databaseClock := newClock(t, db, behind)
	in := newInstanceWith(t, db.URL, settings{retention: keptFor})
	m := newMerchant(t, db, in, in)

	forbidden := aliceToShop(-5) // stored as if an older release had taken it
	stored := m.charge("k", aliceToShop(100)).want(201)
	m.becomes("k", storedFingerprint(-5, map[string]string{
		"currency": "USD", "source_account": "alice", "destination_account": "shop",
	}))
	databaseClock.forward(keptFor - moment)
	m.retry("k", forbidden).wantReplayOf(stored)
	databaseClock.forward(moment)
	m.wantExpired("k", forbidden, stored)
}
