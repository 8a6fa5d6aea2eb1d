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

	"github.com/paymentsvc/paymentsvc/internal/groupcommit"
)

// CacheFor is how long an instance goes on accepting a key without asking the database again.
const CacheFor = 5 * time.Second

const (
	cacheSizeMax = 10_000

	// One question at a time: a second worker would open a connection just when a crowd arrives, and fail the crowd if
	// that takes long. One that hangs is given up after CacheFor, and before that by the connection's own time-outs.
	lookupWorkers  = 1
	lookupBatchMax = 512
	lookupQueueMax = 10_000
)

// Reasons for which nobody is let in.
var (
	// ErrUnauthorized means that the token is not a valid key of any merchant. It never says why.
	ErrUnauthorized = errors.New("not a valid API key")
	// ErrBusy means that it cannot be found out now, because too many keys are being looked up already.
	ErrBusy = errors.New("too many API keys are being looked up")
)

// Identity is what a valid key stands for.
type Identity struct {
	MerchantID int64
	KeyID      uuid.UUID
	ReadOnly   bool
}

// Authenticator checks API keys.
//
// Only keys that are good are remembered, so a new one works from the moment that it exists. The price would be a query
// for each invented one; but keys that come while the database is being asked are gathered and asked about together,
// so however many come, they occupy one connection and one query at a time.
type Authenticator struct {
	pool    *pgxpool.Pool
	cache   *lru.Cache[keyHash, remembered]
	lookups *groupcommit.Group[keyHash, *lookup]
}

type keyHash [sha256.Size]byte

// lookup is one key, and whose it is: nil is nobody's.
type lookup struct {
	hash     keyHash
	identity *Identity
}

type remembered struct {
	Identity
	until time.Time
}

// NewAuthenticator reads keys from pool. Close ends it.
func NewAuthenticator(pool *pgxpool.Pool) *Authenticator {
	cache, err := lru.New[keyHash, remembered](cacheSizeMax)
	if err != nil {
		panic(err) // only for a size below 1
	}
	a := &Authenticator{pool: pool, cache: cache}
	a.lookups = groupcommit.New[keyHash](groupcommit.Config[*lookup]{
		Commit:       a.lookUp,
		Workers:      lookupWorkers,
		BatchSizeMax: lookupBatchMax,
		QueueSizeMax: lookupQueueMax,
		Timeout:      CacheFor,
	})
	return a
}

// Close ends the look-ups.
func (a *Authenticator) Close() { a.lookups.Close() }

// Authenticate returns whose the token is, ErrUnauthorized if it is nobody's, or another error if that cannot be found out now.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Identity, error) {
	if !wellFormed(token) {
		return Identity{}, ErrUnauthorized
	}
	hash := keyHash(sha256.Sum256([]byte(token)))
	if known, ok := a.cache.Get(hash); ok && time.Now().Before(known.until) {
		return known.Identity, nil
	}
	found, err := a.lookups.Do(ctx, hash, &lookup{hash: hash})
	switch {
	case err != nil && ctx.Err() != nil:
		return Identity{}, fmt.Errorf("looking up an API key: %w", ctx.Err())
	case errors.Is(err, groupcommit.ErrQueueFull), errors.Is(err, groupcommit.ErrNotStarted): // full, or closed
		return Identity{}, fmt.Errorf("%w: %w", ErrBusy, err)
	case err != nil:
		return Identity{}, fmt.Errorf("looking up an API key: %w", err)
	case found.identity == nil:
		return Identity{}, ErrUnauthorized
	}
	return *found.identity, nil
}

// lookUp asks whose keys these are, all in one query; nil is nobody's.
func (a *Authenticator) lookUp(ctx context.Context, lookups []*lookup) error {
	until := time.Now().Add(CacheFor) // counted from before the question, so that the promise about revocation holds
	sums := make([][]byte, len(lookups))
	for i, l := range lookups {
		sums[i] = l.hash[:]
	}
	rows, err := a.pool.Query(ctx, `
		SELECT secret_sha256, merchant_id, id, read_only
		FROM api_keys
		WHERE secret_sha256 = ANY ($1) AND revoked_at IS NULL`, sums)
	if err != nil {
		return err
	}
	found := make(map[keyHash]*Identity, len(lookups))
	var sum []byte
	var identity Identity
	_, err = pgx.ForEachRow(rows, []any{&sum, &identity.MerchantID, &identity.KeyID, &identity.ReadOnly}, func() error {
		its := identity
		found[keyHash(sum)] = &its
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range lookups {
		if l.identity = found[l.hash]; l.identity == nil {
			a.cache.Remove(l.hash)
		} else {
			a.cache.Add(l.hash, remembered{*l.identity, until})
		}
	}
	return nil
}
