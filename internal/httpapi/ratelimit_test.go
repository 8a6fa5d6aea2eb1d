package httpapi_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// limited is a merchant on an instance that limits merchants. Its accounts are made on
// another one, which does not.
func limited(t *testing.T, limit httpapi.RateLimit) *merchant {
	t.Helper()
	db := pgtest.New(t)
	free := newInstance(t, db.URL)
	m := newMerchant(t, db, free, free)
	m.first = newInstanceWith(t, db.URL, settings{rateLimit: limit})
	return m
}

// A 429 stores nothing.
func TestRateLimitedRequestUsesNoKey(t *testing.T) {
	t.Parallel()
	const burst, crowd = 3, 40
	m := limited(t, httpapi.RateLimit{PerSecond: 1, Burst: burst})
	began := time.Now()
	paid, refused := 0, []string(nil)
	for i, a := range atOnce(crowd, func(i int) *answer {
		return m.charge(fmt.Sprint("k", i), aliceToShop(1))
	}) {
		if a.status == http.StatusCreated {
			paid++
			continue
		}
		a.wantProblem("rate_limited").wantFresh()
		if a.header.Get("Retry-After") != "1" || a.header.Get("RateLimit") != `"default";r=0;t=1` {
			a.fail("says to come back in %q, and that the limit is %q",
				a.header.Get("Retry-After"), a.header.Get("RateLimit"))
		}
		refused = append(refused, fmt.Sprint("k", i))
	}
	if most := burst + int(time.Since(began).Seconds()); paid < burst || paid > most ||
		len(refused) == 0 {
		t.Fatalf("%d were paid, of a burst of %d and at most %d by now", paid, burst, most)
	}
	m.wantCount(0, `SELECT count(*) FROM idempotency_keys WHERE merchant_id = $1 AND key = $2`,
		m.id, refused[0])
	m.wantPayments(paid)

	// The same key, after the time that was said: not a replay. It is what the body
	// says that counts, and nothing was kept of it.
	await.Until(t, patience, "the bucket has filled", func() bool {
		a := m.charge(refused[0], aliceToShop(2))
		if a.status == http.StatusTooManyRequests {
			return false
		}
		a.want(201).wantFresh()
		return true
	})
	m.wantPayments(paid + 1)
}

var limitForm = regexp.MustCompile(`^"default";r=(\d+);t=(\d+)$`)

// draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4.
func TestEveryAnswerReportsTheRateLimit(t *testing.T) {
	t.Parallel()
	m := limited(t, httpapi.RateLimit{PerSecond: 2, Burst: 999})
	began := time.Now()
	for i := range 9 {
		a := m.send(m.first,
			call{path: []string{"/accounts/alice", "/payments/none", "/payments?x"}[i%3]})
		if a.header.Get("RateLimit-Policy") != `"default";q=999;w=500` {
			a.fail("has the policy %q", a.header.Get("RateLimit-Policy"))
		}
		limit := limitForm.FindStringSubmatch(a.header.Get("RateLimit"))
		if limit == nil {
			t.Fatalf("the limit is %q", a.header.Get("RateLimit"))
		}
		least := 999 - (i + 1)
		most := least + 1 + int(2*time.Since(began).Seconds())
		if left, _ := strconv.Atoi(limit[1]); left < least || left > most || limit[2] != "1" {
			a.fail("has the limit %s, where from %d to %d are left", limit[0], least, most)
		}
	}
	unlimited := m.send(m.other, call{path: "/accounts/alice"}).want(200)
	if unlimited.header.Get("RateLimit") != "" || unlimited.header.Get("RateLimit-Policy") != "" {
		unlimited.fail("speaks of a limit, where none is set")
	}
}

// The limit counts all requests of a merchant, under any of its API keys, and none of
// another merchant. Requests without a valid credential and health checks have no limit.
func TestRateLimitCountsEveryRequestOfAMerchant(t *testing.T) {
	t.Parallel()
	m := limited(t, httpapi.RateLimit{PerSecond: 1, Burst: 2})
	second, stranger := m.as(m.secondKey()), m.as("sk_nobody")
	began, served := time.Now(), 0
	for _, a := range atOnce(40, func(i int) *answer {
		return []*merchant{m, second}[i%2].send(m.first, call{path: "/accounts"})
	}) {
		if a.status != http.StatusTooManyRequests {
			served++
		}
	}
	if most := 2 + int(time.Since(began).Seconds()); served < 2 || served > most {
		t.Errorf("%d requests by two keys were served, of a burst of 2 and at most %d by now",
			served, most)
	}
	for range 5 {
		stranger.send(m.first, call{path: "/accounts"}).wantProblem("unauthorized")
		res, err := m.caller.HTTP.Get(m.first.url + "/readyz")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("/readyz: %v, %v", res, err)
		}
		res.Body.Close()
	}
	// A bucket is full when its merchant's first request comes.
	neighbour := m.as(journal.CreateMerchant(t, m.db.URL).APIKey)
	for range 2 {
		neighbour.send(m.first, call{path: "/accounts"}).want(200)
	}
}
