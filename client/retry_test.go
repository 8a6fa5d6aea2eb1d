package client_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
)

var (
	overloaded = problem(503, "overloaded", client.RetrySameKey)
	limited    = problem(429, "rate_limited", client.RetrySameKey)
)

// Waits are spread over all of 0 to a ceiling that doubles up to a limit. The clock of
// these tests is synctest's.
func TestWaitsGrowWithFullJitter(t *testing.T) {
	t.Parallel()
	const calls, attempts = 500, 6
	ceilings := []int64{100, 200, 400, 500, 500} // milliseconds
	synctest.Test(t, func(t *testing.T) {
		sums := make([]time.Duration, attempts-1)
		var highest [attempts - 1]time.Duration
		options := client.Options{
			AttemptsMax: attempts, BackoffBase: 100 * time.Millisecond,
			BackoffMax: 500 * time.Millisecond, RetryBudget: calls * attempts,
			OnRetry: func(r client.Retry) {
				if r.Key != "key" || r.Err == nil {
					t.Errorf("told of %+v", r)
				}
				sums[r.Attempt-1] += r.Wait
				highest[r.Attempt-1] = max(highest[r.Attempt-1], r.Wait)
			},
		}
		c, _ := scripted(t, options, overloaded)
		began := time.Now()
		for range calls {
			if _, err := c.Charge(t.Context(), "key", charge); err == nil {
				t.Fatal("charged")
			}
		}
		var total time.Duration
		for i, sum := range sums {
			total += sum
			ceiling := time.Duration(ceilings[i]) * time.Millisecond
			if mean := sum / calls; mean < ceiling*2/5 || mean > ceiling*3/5 ||
				highest[i] > ceiling || highest[i] < ceiling*9/10 {
				t.Errorf("waits after attempt %d: mean %v, at most %v, where 0 to %v was due", i+1,
					mean, highest[i], ceiling)
			}
		}
		if waited := time.Since(began); waited != total {
			t.Errorf("waited %v and announced %v", waited, total)
		}
	})
}

func TestRetryAfterIsKeptTo(t *testing.T) {
	t.Parallel()
	const spread = 50 * time.Millisecond
	in := func(wait time.Duration) string {
		return time.Now().Add(wait).UTC().Format(http.TimeFormat)
	}
	for what, row := range map[string]struct {
		retryAfter, date func() string
		want             time.Duration
	}{
		"seconds": {retryAfter: func() string { return "7" }, want: 7 * time.Second},
		"a date": {
			retryAfter: func() string { return in(5 * time.Second) }, want: 5 * time.Second,
		},
		"past date": {retryAfter: func() string { return in(-5 * time.Second) }},
		"a word":    {retryAfter: func() string { return "soon" }},
		"negative":  {retryAfter: func() string { return "-3" }},
		// The server's clock may be wrong. Its Date header has the time of that clock.
		"a date by the server's clock": {
			retryAfter: func() string { return in(4*time.Second - 10*time.Hour) },
			date:       func() string { return in(-10 * time.Hour) }, want: 4 * time.Second,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // its clock begins at a whole second
				options := client.Options{BackoffBase: spread, BackoffMax: spread}
				refusal := limited.with("Retry-After", row.retryAfter())
				if row.date != nil {
					refusal = refusal.with("Date", row.date())
				}
				c, _ := scripted(t, options, refusal, yes)
				began := time.Now()
				if _, err := c.Charge(t.Context(), "key", charge); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited < row.want || waited > row.want+spread {
					t.Errorf("came back after %v", waited)
				}
			})
		})
	}
}

func TestARetryAfterBeyondReasonEndsTheCallAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for text, want := range map[string]time.Duration{
			"31": 31 * time.Second, "9223372037": math.MaxInt64,
			"9223372036854775807": math.MaxInt64,
		} {
			c, service := scripted(t, client.Options{}, overloaded.with("Retry-After", text))
			began := time.Now()
			_, err := c.Charge(t.Context(), "key", charge)
			e, ok := errors.AsType[*client.Error](err)
			if !ok || e.RetryAfter != want || isUnknown(t, err, "key") {
				t.Errorf("Retry-After %s: %v", text, err)
			}
			if waited := time.Since(began); waited != 0 || len(service.requests()) != 1 {
				t.Errorf("Retry-After %s: waited %v", text, waited)
			}
		}
	})
}

func TestAContextEndsACallWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, service := scripted(t, client.Options{}, overloaded.with("Retry-After", "20"))
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := c.Charge(ctx, "key", charge)
		e, told := errors.AsType[*client.Error](err)
		if !errors.Is(err, context.Canceled) || !told || e.Code != "overloaded" ||
			isUnknown(t, err, "key") {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(began); waited != time.Second || len(service.requests()) != 1 {
			t.Errorf("it took %v and %d requests", waited, len(service.requests()))
		}
	})
}

func TestAWaitThatOutlastsTheTimeIsNotBegun(t *testing.T) {
	t.Parallel()
	huge := client.Options{ // no sum of these may overflow
		BackoffBase: math.MaxInt64, BackoffMax: math.MaxInt64,
		RetryAfterMax: math.MaxInt64, AttemptsMax: math.MaxInt,
	}
	for _, row := range []struct {
		options    client.Options
		retryAfter string
	}{{client.Options{Timeout: 10 * time.Second}, "20"}, {huge, "0"}, {huge, "9223372037"}} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := scripted(t, row.options, overloaded.with("Retry-After", row.retryAfter))
			began := time.Now()
			_, err := c.Charge(t.Context(), "key", charge)
			if !errors.Is(err, context.DeadlineExceeded) || isUnknown(t, err, "key") {
				t.Errorf("got %v", err)
			}
			if waited := time.Since(began); waited != 0 {
				t.Errorf("waited %v for nothing", waited)
			}
		})
	}
}

// silent is a service that never answers.
type silent struct{ requests int }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests++
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestSilenceEndsAnAttemptAndThenTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &silent{}
		c := newClient(t, client.Options{
			URL: "https://payments.example", APIKey: "sk_test", Transport: service,
			Timeout: 10 * time.Second, AttemptTimeout: 3 * time.Second,
		})
		began := time.Now()
		_, err := c.Charge(t.Context(), "key", charge)
		if !isUnknown(t, err, "key") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 10*time.Second || took < 9*time.Second ||
			service.requests < 3 {
			t.Errorf("it took %v and %d requests", took, service.requests)
		}
	})
}

func TestRetryBudgetBoundsAnOutage(t *testing.T) {
	t.Parallel()
	const calls, retries = 300, 20
	synctest.Test(t, func(t *testing.T) {
		c, service := scripted(t, client.Options{RetryBudget: retries}, overloaded)
		spent := 0
		for range calls {
			_, err := c.Charge(t.Context(), client.NewKey(), charge)
			if errors.Is(err, client.ErrRetryBudget) {
				spent++
			}
		}
		if n := len(service.requests()); n != calls+retries {
			t.Errorf("%d calls made %d requests, where %d retries were allowed", calls, n, retries)
		}
		if spent < calls-retries {
			t.Errorf("%d calls said why they gave up", spent)
		}

		// Ten calls that are answered earn a retry.
		service.mu.Lock()
		service.answers, service.seen = []answer{yes}, nil
		service.mu.Unlock()
		for range 10 + 1 { // a tenth is not a tenth in binary
			if _, err := c.Charge(t.Context(), client.NewKey(), charge); err != nil {
				t.Fatal(err)
			}
		}
		service.mu.Lock()
		service.answers, service.seen = []answer{lost, yes}, nil
		service.mu.Unlock()
		if _, err := c.Charge(t.Context(), client.NewKey(), charge); err != nil {
			t.Errorf("the retry was earned: %v", err)
		}
	})
}
