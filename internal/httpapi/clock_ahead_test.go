package httpapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// The service's clock is an hour ahead of the database's. Then the database's clock was
// an hour ahead too, and was set right: the accounts' last entry is of the future. An
// account's history never goes back, so the next entry gets the time of the last.
// Retention and authorizations are judged by the database's clock alone.
func TestClockThatWasAheadMovesNothingButTheEntries(t *testing.T) {
	t.Parallel()
	const ahead, half, lifetime = time.Hour, 30 * time.Minute, 40 * time.Minute
	db := pgtest.New(t)
	databaseClock := newClock(t, db, ahead)
	in := newInstanceWith(t, db.URL, settings{lifetime: lifetime, retention: lifetime})
	m := newMerchant(t, db, in, in)

	began := m.databaseTime()
	before := m.charge("before", aliceToShop(1)).want(201)
	refund := m.post("refund", before.location()+"/refunds", "").want(201)
	for _, a := range []*answer{before, refund} {
		at := m.createdAt(a)
		if at.Before(began.Truncate(time.Microsecond)) || at.After(m.databaseTime()) {
			a.fail("was not made at %s", began)
		}
	}
	moment := began.Add(half).UTC().Format(time.RFC3339Nano)
	m.get("/accounts/shop?at=" + moment).wantProblem(refused) // the database's future

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
	m.wantBalance("shop", 2+4+8)
}

func (m *merchant) createdAt(a *answer) time.Time {
	m.t.Helper()
	var made struct {
		CreatedAt time.Time `json:"created_at"`
	}
	a.decode(&made)
	return made.CreatedAt
}

// An older release may have taken what a rule refuses today. Its answer is replayed for
// as long as any other: its retention is counted by the database's clock.
func TestARuleThatBecameStricterChangesNoAnswer(t *testing.T) {
	t.Parallel()
	const keptFor, behind, moment = 30 * time.Minute, time.Hour, time.Minute
	db := pgtest.New(t)
	databaseClock := newClock(t, db, behind)
	in := newInstanceWith(t, db.URL, settings{retention: keptFor})
	m := newMerchant(t, db, in, in)
	rows := []struct {
		forbidden body
		amount    int64
		currency  string
		answer    *answer
	}{
		{forbidden: aliceToShop(-5), amount: -5, currency: "USD"},
		{forbidden: aliceToShop(100).with("currency", "DEM"), amount: 100, currency: "DEM"},
	}
	for i := range rows {
		row, key := &rows[i], fmt.Sprint("k", i)
		m.charge("free", row.forbidden).want(422)
		row.answer = m.charge(key, aliceToShop(100)).want(201)
		m.becomes(key, storedFingerprint(row.amount, map[string]string{
			"currency": row.currency, "source_account": "alice", "destination_account": "shop",
		}))
		m.retry(key, aliceToShop(100)).wantProblem("idempotency_key_reused")
	}
	databaseClock.forward(keptFor - moment)
	for i, row := range rows {
		m.retry(fmt.Sprint("k", i), row.forbidden).wantReplayOf(row.answer)
	}
	databaseClock.forward(moment)
	for i, row := range rows {
		m.wantExpired(fmt.Sprint("k", i), row.forbidden, row.answer)
	}
	m.wantBalance("shop", 200)
}
