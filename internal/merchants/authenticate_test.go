package merchants_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestAKeyStandsForItsOwnerAndItsRights(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	authenticator := newAuthenticator(t, db.Pool)
	for _, readOnly := range []bool{false, true} {
		id, _ := create(t, db)
		_, apiKey, err := merchants.CreateKey(t.Context(), db.Pool, id, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is remembered
			if got := authenticate(t, authenticator, apiKey); got.MerchantID != id || got.ReadOnly != readOnly {
				t.Errorf("the key of merchant %d, read-only %t, stands for %+v", id, readOnly, got)
			}
		}
	}
}

// unreachable makes an authenticator that cannot ask, so that one sees who is refused without a question.
func unreachable(t *testing.T, db *pgtest.DB) *merchants.Authenticator {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	return newAuthenticator(t, pool)
}

// SECURITY 6 and 7.
func TestAKeyThatWasNeverIssuedIsRefusedWithoutAQuery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, apiKey := create(t, db)
	authenticator := unreachable(t, db)
	if _, err := authenticator.Authenticate(t.Context(), apiKey); err == nil || errors.Is(err, merchants.ErrUnauthorized) {
		t.Fatalf("a well-formed key was judged without a query: %v", err)
	}
	text := strings.TrimPrefix(apiKey, "sk_")
	for _, invented := range []string{
		"", "sk_", text, "pk_" + text, "SK_" + text, "sk_" + strings.ToUpper(text), " " + apiKey, apiKey + " ", apiKey + "=", apiKey + "\n",
		apiKey[:len(apiKey)-1], apiKey + "0", "sk_" + strings.Repeat("0", 39), "sk_" + strings.Repeat("0", 1<<16), "sk_ü", "sk_\x00",
		"sk_" + text[1:] + text[:1], "sk_" + text[:20] + "-" + text[20:], "sk_" + text + text,
	} {
		if _, err := authenticator.Authenticate(t.Context(), invented); !errors.Is(err, merchants.ErrUnauthorized) {
			t.Errorf("%.60q: %v", invented, err)
		}
	}
}

// A typing error, wherever it is.
func TestAKeyWithOneWrongCharacterIsRefusedWithoutAQuery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, apiKey := create(t, db)
	authenticator := unreachable(t, db)
	for i := range len(apiKey) {
		for _, digit := range digits + "_-wxyz" {
			mistyped := apiKey[:i] + string(digit) + apiKey[i+1:]
			if mistyped == apiKey {
				continue
			}
			if _, err := authenticator.Authenticate(t.Context(), mistyped); !errors.Is(err, merchants.ErrUnauthorized) {
				t.Errorf("with %q at %d: %v", digit, i, err)
			}
		}
	}
}

// SECURITY 8: the stated number of seconds is CacheFor.
func TestARevokedKeyStopsWorkingWithinTheStatedTime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, apiKey := create(t, db)
	authenticator := newAuthenticator(t, db.Pool)
	authenticate(t, authenticator, apiKey)
	revoke(t, db, apiKey)
	revoked := time.Now()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range again.C {
		asked := time.Now()
		_, err := authenticator.Authenticate(t.Context(), apiKey)
		if errors.Is(err, merchants.ErrUnauthorized) {
			return
		}
		if err != nil || asked.Sub(revoked) > merchants.CacheFor {
			t.Fatalf("%s after it was revoked: %v", asked.Sub(revoked), err)
		}
	}
}

func TestAKeyWorksFromTheMomentThatItExists(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, _ := create(t, db)
	_, apiKey := create(t, pgtest.New(t)) // of another database, so that this one does not know it yet
	authenticator := newAuthenticator(t, db.Pool)
	if _, err := authenticator.Authenticate(t.Context(), apiKey); !errors.Is(err, merchants.ErrUnauthorized) {
		t.Fatalf("before it exists: %v", err)
	}
	sum := sha256.Sum256([]byte(apiKey))
	exec(t, db, `INSERT INTO api_keys (merchant_id, id, secret_sha256) VALUES ($1, gen_random_uuid(), $2)`, id, sum[:])
	if got := authenticate(t, authenticator, apiKey); got.MerchantID != id {
		t.Errorf("it stands for merchant %d, want %d", got.MerchantID, id)
	}
}

func TestACrowdWithOneKeyNeedsOneConnection(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	id, apiKey := create(t, db)
	authenticator := newAuthenticator(t, pool)
	start := make(chan struct{})
	var crowd sync.WaitGroup
	for range 500 {
		crowd.Go(func() {
			<-start
			if got := authenticate(t, authenticator, apiKey); got.MerchantID != id {
				t.Errorf("the key of merchant %d stands for %+v", id, got)
			}
		})
	}
	close(start)
	crowd.Wait()
	if acquired := pool.Stat().AcquireCount(); acquired >= 500 {
		t.Errorf("500 callers took a connection %d times", acquired)
	}
}

// Callers share a question, and one of them may leave.
func TestWhoLeavesEndsNobodyElsesQuestion(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, apiKey := create(t, db)
	authenticator := newAuthenticator(t, db.Pool)
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `LOCK TABLE api_keys`); err != nil {
		t.Fatal(err)
	}

	asking, leave := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	callers.Go(func() { _, _ = authenticator.Authenticate(asking, apiKey) }) // whatever it is told
	awaitLock(t, db)
	callers.Go(func() {
		if got := authenticate(t, authenticator, apiKey); got.MerchantID != id {
			t.Errorf("the key of merchant %d stands for %+v", id, got)
		}
	})
	leave()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
}

// watched is a pool of the test's database whose queries are noted.
func watched(t *testing.T, db *pgtest.DB, note func(sql string, args []any)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Tracer = tracer(note)
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type tracer func(sql string, args []any)

func (note tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, query pgx.TraceQueryStartData) context.Context {
	note(query.SQL, query.Args)
	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A checksum can be computed by anyone, so keys that nobody issued can be well-formed.
func TestInventedKeysAreLookedUpTogether(t *testing.T) {
	t.Parallel()
	db, elsewhere := pgtest.New(t), pgtest.New(t)
	const crowd = 300
	invented := make([]string, crowd)
	for i := range invented {
		_, invented[i] = create(t, elsewhere)
	}
	id, good := create(t, db)
	var queries atomic.Int64
	authenticator := newAuthenticator(t, watched(t, db, func(string, []any) { queries.Add(1) }))

	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `LOCK TABLE api_keys`); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	var arrived atomic.Int64
	for _, apiKey := range invented {
		callers.Go(func() {
			arrived.Add(1)
			if _, err := authenticator.Authenticate(t.Context(), apiKey); !errors.Is(err, merchants.ErrUnauthorized) {
				t.Errorf("an invented key: %v", err)
			}
		})
	}
	for arrived.Load() < crowd {
		awaitLock(t, db)
	}
	callers.Go(func() {
		if got := authenticate(t, authenticator, good); got.MerchantID != id {
			t.Errorf("the key of merchant %d stands for %+v", id, got)
		}
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	if n := queries.Load(); n > crowd/3 {
		t.Errorf("%d invented keys took %d queries", crowd, n)
	}
}

// SECURITY 7 and 10: the secret is not compared with anything, here or in the database. Its hash is looked up, and how far
// that agrees with another tells nothing about a key.
func TestTheDatabaseIsAskedAboutAHashAndNeverAboutAKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, apiKey := create(t, db)
	var mu sync.Mutex // guards asked
	var asked []string
	authenticator := newAuthenticator(t, watched(t, db, func(sql string, args []any) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, fmt.Sprintf("%s %x %v", sql, args, args))
	}))
	if got := authenticate(t, authenticator, apiKey); got.MerchantID != id {
		t.Fatalf("it stands for %+v", got)
	}
	sum := sha256.Sum256([]byte(apiKey))
	if len(asked) != 1 || !strings.Contains(asked[0], hex.EncodeToString(sum[:])) {
		t.Fatalf("asked was %q", asked)
	}
	for i := len("sk_"); i+8 <= len(apiKey); i++ {
		if piece := apiKey[i : i+8]; strings.Contains(asked[0], piece) || strings.Contains(asked[0], hex.EncodeToString([]byte(piece))) {
			t.Errorf("a piece of the key was asked for: %s", asked[0])
		}
	}
}

// awaitLock waits until somebody waits for a lock in the test's database.
func awaitLock(t *testing.T, db *pgtest.DB) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for range again.C {
		var waiting bool
		if err := db.Pool.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`,
		).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if waiting {
			return
		}
	}
}

// A caller has a time limit of its own (REQUEST_TIMEOUT), also before a database that does not answer.
func TestWhoseTimeIsUpWaitsNoLonger(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	pool, err := pgxpool.New(t.Context(), "postgres://somebody@"+silent.Addr().String()+"/?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	_, apiKey := create(t, pgtest.New(t))

	timeIsUp, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newAuthenticator(t, pool).Authenticate(timeIsUp, apiKey); !errors.Is(err, context.Canceled) {
		t.Errorf("it waited for the database until %v", err)
	}
}
