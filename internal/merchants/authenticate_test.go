package merchants_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// asked has the queries of a pool, and can keep it from connecting.
type asked struct {
	mu      sync.Mutex // guards queries
	queries []string   // each with its arguments
	down    atomic.Bool
	// slow keeps a look-up waiting until its time is over; nil: none.
	slow func(hash []byte) bool
}

func (a *asked) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, query pgx.TraceQueryStartData,
) context.Context {
	if a.slow != nil && a.slow(query.Args[0].([]byte)) {
		<-ctx.Done()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queries = append(a.queries, fmt.Sprintf("%s %x %v", query.SQL, query.Args, query.Args))
	return ctx
}

func (*asked) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// watched is a pool that records its queries.
func watched(t *testing.T, db *pgtest.DB) (*pgxpool.Pool, *asked) {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	a := &asked{}
	config.ConnConfig.Tracer = a
	config.MaxConns = 2 * merchants.LookupsAtOnce
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		if a.down.Load() {
			return errors.New("the database is down")
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, a
}

// lockKeys makes every look-up wait until the lock is released.
func lockKeys(t *testing.T, db *pgtest.DB) (release func()) {
	t.Helper()
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release)
	if _, err := tx.Exec(t.Context(), `LOCK TABLE api_keys`); err != nil {
		t.Fatal(err)
	}
	return release
}

// awaitWaiting waits until look-ups wait for the lock.
func awaitWaiting(t *testing.T, db *pgtest.DB, lookups int) {
	t.Helper()
	await.Until(t, 10*time.Second, "look-ups wait for the lock", func() bool {
		var waiting int
		err := db.Pool.QueryRow(t.Context(), `
			SELECT count(*)
			FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		return waiting == lookups
	})
}

func wantUnauthorized(t *testing.T, a *merchants.Authenticator, token string) {
	t.Helper()
	_, err := a.Authenticate(t.Context(), token)
	if !errors.Is(err, merchants.ErrUnauthorized) {
		t.Errorf("%.60q is not refused: %v", token, err)
	}
}

func TestKeyIdentifiesMerchantAndRights(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	authenticator := merchants.NewAuthenticator(db.Pool)
	for _, readOnly := range []bool{false, true} {
		id, _ := create(t, db)
		_, apiKey, err := merchants.CreateKey(t.Context(), db.Pool, id, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is remembered
			got := authenticate(t, authenticator, apiKey)
			if got.MerchantID != id || got.ReadOnly != readOnly {
				t.Errorf("merchant %d, read-only %t, is taken for %+v", id, readOnly, got)
			}
		}
	}
}

func TestMalformedKeysAreRefusedWithoutAQuery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, apiKey := create(t, db)
	pool, asked := watched(t, db)
	authenticator := merchants.NewAuthenticator(pool)
	text := strings.TrimPrefix(apiKey, "sk_")
	for _, invented := range []string{
		"", "sk_", text, "pk_" + text, "sk_" + strings.ToUpper(text), " " + apiKey,
		apiKey + "\n", apiKey[:len(apiKey)-1], apiKey + "0", "sk_" + strings.Repeat("0", 39),
		"sk_" + strings.Repeat("0", 1<<16), "sk_ü", "sk_" + text + text,
	} {
		wantUnauthorized(t, authenticator, invented)
	}
	for i := range len(apiKey) {
		for _, digit := range digits + "_-wxyz" {
			if mistyped := apiKey[:i] + string(digit) + apiKey[i+1:]; mistyped != apiKey {
				wantUnauthorized(t, authenticator, mistyped)
			}
		}
	}
	if len(asked.queries) > 0 {
		t.Errorf("malformed keys took %d queries: %s", len(asked.queries), asked.queries[0])
	}
}

// No code compares the secret: its hash is looked up.
func TestDatabaseIsAskedForAHash(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, apiKey := create(t, db)
	pool, asked := watched(t, db)
	authenticate(t, merchants.NewAuthenticator(pool), apiKey)
	sum := sha256.Sum256([]byte(apiKey))
	if len(asked.queries) != 1 || !strings.Contains(asked.queries[0], hex.EncodeToString(sum[:])) {
		t.Fatalf("asked was %q", asked.queries)
	}
	for i := len("sk_"); i+8 <= len(apiKey); i++ {
		piece := apiKey[i : i+8]
		if strings.Contains(asked.queries[0], piece) ||
			strings.Contains(asked.queries[0], hex.EncodeToString([]byte(piece))) {
			t.Errorf("a piece of the key was asked for: %s", asked.queries[0])
		}
	}
}

// CacheFor is the documented time.
func TestRevokedKeyIsRefusedInTime(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, apiKey := create(t, db)
	authenticator := merchants.NewAuthenticator(db.Pool)
	authenticate(t, authenticator, apiKey)
	revoke(t, db, apiKey)
	revoked := time.Now()
	await.Until(t, 2*merchants.CacheFor, "the key is refused", func() bool {
		began := time.Now()
		_, err := authenticator.Authenticate(t.Context(), apiKey)
		if err == nil && began.Sub(revoked) > merchants.CacheFor {
			t.Fatalf("the key was accepted %v after it was revoked", began.Sub(revoked))
		}
		return errors.Is(err, merchants.ErrUnauthorized)
	})
}

// Neither an unknown key nor a failed look-up is remembered.
func TestOnlyValidKeysAreRemembered(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, _ := create(t, db)
	apiKey := merchants.NewToken()
	pool, asked := watched(t, db)
	authenticator := merchants.NewAuthenticator(pool)
	asked.down.Store(true)
	_, err := authenticator.Authenticate(t.Context(), apiKey)
	if err == nil || errors.Is(err, merchants.ErrUnauthorized) {
		t.Errorf("without a database, the key was judged: %v", err)
	}
	asked.down.Store(false)
	wantUnauthorized(t, authenticator, apiKey)
	sum := sha256.Sum256([]byte(apiKey))
	exec(t, db, `
		INSERT INTO api_keys (merchant_id, id, secret_sha256)
		VALUES ($1, gen_random_uuid(), $2)`, id, sum[:])
	if got := authenticate(t, authenticator, apiKey); got.MerchantID != id {
		t.Errorf("the key of merchant %d stands for %+v", id, got)
	}
}

func TestCallersWithOneKeyShareOneQuery(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, apiKey := create(t, db)
	pool, asked := watched(t, db)
	authenticator := merchants.NewAuthenticator(pool)
	release := lockKeys(t, db)
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := authenticator.Authenticate(leaving, apiKey)
		left <- err
	}()
	awaitWaiting(t, db, 1)
	var callers sync.WaitGroup
	for range 500 {
		callers.Go(func() {
			if got := authenticate(t, authenticator, apiKey); got.MerchantID != id {
				t.Errorf("the key of merchant %d stands for %+v", id, got)
			}
		})
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left was told %v", err)
	}
	release()
	callers.Wait()
	if len(asked.queries) != 1 {
		t.Errorf("one key took %d queries", len(asked.queries))
	}
}

// Anyone can compute a checksum, so an invented key may be well-formed.
func TestLookupsOfInventedKeysAreBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, known := create(t, db)
	pool, _ := watched(t, db)
	authenticator := merchants.NewAuthenticator(pool)
	authenticate(t, authenticator, known)
	release := lockKeys(t, db)
	asking, leave := context.WithCancel(t.Context())
	const tooMany = 50
	var callers sync.WaitGroup
	var busy atomic.Int64
	for range merchants.LookupsMax + tooMany {
		callers.Go(func() {
			_, err := authenticator.Authenticate(asking, merchants.NewToken())
			switch {
			case errors.Is(err, merchants.ErrBusy):
				busy.Add(1)
			case !errors.Is(err, context.Canceled):
				t.Errorf("an invented key: %v", err)
			}
		})
	}
	await.Until(t, merchants.CacheFor, "look-ups over the bound are refused", func() bool {
		return busy.Load() == tooMany
	})
	if got := authenticate(t, authenticator, known); got.MerchantID != id {
		t.Errorf("the key of merchant %d stands for %+v", id, got)
	}
	awaitWaiting(t, db, merchants.LookupsAtOnce)
	if n := pool.Stat().AcquiredConns(); n != merchants.LookupsAtOnce {
		t.Errorf("look-ups take %d connections, want %d", n, merchants.LookupsAtOnce)
	}
	leave()
	callers.Wait()
	release()
}

func TestUnknownKeysDoNotDelayRenewalOfKnownKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, known := create(t, db)
	pool, asked := watched(t, db)
	sum := sha256.Sum256([]byte(known))
	asked.slow = func(hash []byte) bool { return !bytes.Equal(hash, sum[:]) }
	authenticator := merchants.NewAuthenticator(pool)
	authenticate(t, authenticator, known)
	began := time.Now()
	asking, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var busy atomic.Int64
	for range merchants.LookupsMax + 50 {
		callers.Go(func() {
			for asking.Err() == nil {
				_, err := authenticator.Authenticate(asking, merchants.NewToken())
				if errors.Is(err, merchants.ErrBusy) {
					busy.Add(1)
					<-time.After(20 * time.Millisecond) // the pace of the attack
				}
			}
		})
	}
	await.Until(t, 3*merchants.CacheFor, "the known key was renewed under attack", func() bool {
		authenticate(t, authenticator, known)
		return time.Since(began) > merchants.CacheFor && busy.Load() > 0
	})
	stop()
	callers.Wait()
}
