package merchants

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

// CacheFor is how long an instance accepts a key without asking the database again. It
// also limits a look-up.
const CacheFor = 5 * time.Second

const (
	cacheSizeMax  = 10_000
	lookupsMax    = 1_000 // look-ups of a lane under way, each of another key
	lookupsAtOnce = 2     // connections of a lane: the pool has other users
)

// Reasons to refuse a token.
var (
	// ErrUnauthorized means that the token is not a valid key. It never says why.
	ErrUnauthorized = errors.New("not a valid API key")
	// ErrBusy means that too many look-ups are under way.
	ErrBusy = errors.New("too many API keys are being looked up")
)

// Identity is the owner of a valid key.
type Identity struct {
	MerchantID int64
	KeyID      uuid.UUID
	ReadOnly   bool
}

// Authenticator checks API keys. It remembers valid keys only. So a new key works at
// once, and invented keys push no valid key out of the cache.
//
// Anyone can invent well-formed keys, faster than the database answers. So a key that was
// valid here before is looked up in a lane of its own, which no invented key can fill.
type Authenticator struct {
	pool     *pgxpool.Pool
	cache    *lru.Cache[keyHash, remembered] // expired keys too
	lookups  singleflight.Group              // callers with the same key share one look-up
	renewals lane
	firsts   lane
	found    *lru.Cache[int64, struct{}] // see Find
}

// lane bounds look-ups.
type lane struct{ underWay, connected *semaphore.Weighted }

func newLane() lane {
	return lane{semaphore.NewWeighted(lookupsMax), semaphore.NewWeighted(lookupsAtOnce)}
}

type keyHash [sha256.Size]byte

type remembered struct {
	Identity
	until time.Time
}

// NewAuthenticator reads keys from pool.
func NewAuthenticator(pool *pgxpool.Pool) *Authenticator {
	cache, err := lru.New[keyHash, remembered](cacheSizeMax)
	if err != nil {
		panic(err) // only for a size below 1
	}
	found, err := lru.New[int64, struct{}](cacheSizeMax)
	if err != nil {
		panic(err) // as above
	}
	return &Authenticator{
		pool:     pool,
		cache:    cache,
		renewals: newLane(),
		firsts:   newLane(),
		found:    found,
	}
}

// Authenticate returns the token's owner, ErrUnauthorized if the token is not valid, or
// another error if the look-up fails.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Identity, error) {
	if !wellFormed(token) {
		return Identity{}, ErrUnauthorized
	}
	hash := keyHash(sha256.Sum256([]byte(token)))
	if identity, ok := a.known(hash); ok {
		return identity, nil
	}
	found := a.lookups.DoChan(string(hash[:]), func() (any, error) { return a.lookUp(hash) })
	select {
	case result := <-found:
		if result.Err != nil {
			return Identity{}, fmt.Errorf("looking up an API key: %w", result.Err)
		}
		return result.Val.(Identity), nil
	case <-ctx.Done():
		return Identity{}, fmt.Errorf("looking up an API key: %w", ctx.Err())
	}
}

func (a *Authenticator) known(hash keyHash) (Identity, bool) {
	key, ok := a.cache.Get(hash)
	return key.Identity, ok && time.Now().Before(key.until)
}

// lookUp has its own context: callers share it, and each of them may leave.
func (a *Authenticator) lookUp(hash keyHash) (identity Identity, err error) {
	in := a.firsts
	if a.cache.Contains(hash) {
		in = a.renewals
	}
	if !in.underWay.TryAcquire(1) {
		return Identity{}, ErrBusy
	}
	defer in.underWay.Release(1)
	if identity, ok := a.known(hash); ok { // another look-up has just ended
		return identity, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), CacheFor)
	defer cancel()
	if err := in.connected.Acquire(ctx, 1); err != nil {
		return Identity{}, err
	}
	defer in.connected.Release(1)
	until := time.Now().Add(CacheFor) // before the query, which a revocation may follow
	err = a.pool.QueryRow(ctx, `
		SELECT merchant_id, id, read_only
		FROM api_keys
		WHERE secret_sha256 = $1 AND revoked_at IS NULL`, hash[:],
	).Scan(&identity.MerchantID, &identity.KeyID, &identity.ReadOnly)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		a.cache.Remove(hash)
		return Identity{}, ErrUnauthorized
	case err != nil:
		return Identity{}, err
	}
	a.cache.Add(hash, remembered{identity, until})
	return identity, nil
}

// Find returns nil if there is a merchant with that id, else ErrNoMerchant. It is for
// requests that another system has authenticated. A merchant is never deleted, so one
// that was found is remembered.
func (a *Authenticator) Find(ctx context.Context, merchantID int64) error {
	if a.found.Contains(merchantID) {
		return nil
	}
	var exists bool
	err := a.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM merchants WHERE id = $1)`, merchantID).Scan(&exists)
	switch {
	case err != nil:
		return fmt.Errorf("finding a merchant: %w", err)
	case !exists:
		return ErrNoMerchant
	}
	a.found.Add(merchantID, struct{}{})
	return nil
}
