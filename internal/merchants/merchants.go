// Package merchants knows who may ask.
//
// A merchant's credential is an API key, a bearer token. Only its SHA-256 is stored: the secret is 160 random bits, so
// there is nothing that a slow hash would protect. The token ends in a checksum, so that a truncated or invented one is refused
// without a query, and a scanner can recognise a leaked one.
//
// Authentication is in front of every request, so its result is remembered for [CacheFor]. That is also how long a
// revoked key may go on working, on each instance.
package merchants

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
)

// CacheFor is how long an instance goes on accepting a key without asking the database again.
const CacheFor = 5 * time.Second

const (
	cacheSizeMax  = 10_000
	keyPrefix     = "sk_"
	secretBytes   = 20
	checksumBytes = 4
)

// ErrUnauthorized means that the token is not a valid key of any merchant. It never says why.
var ErrUnauthorized = errors.New("not a valid API key")

// Identity is what a valid key stands for.
type Identity struct {
	MerchantID int64
	KeyID      uuid.UUID
	ReadOnly   bool
}

// Create makes a merchant and its first API key. The key is returned here and never again.
func Create(ctx context.Context, db *pgxpool.Pool, name string) (merchantID int64, apiKey string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		merchantID = randomID()
		if _, err := tx.Exec(ctx, `INSERT INTO merchants (id, name) VALUES ($1, $2)`, merchantID, name); err != nil {
			return err
		}
		apiKey, err = createKey(ctx, tx, merchantID)
		return err
	})
	if err != nil {
		return 0, "", fmt.Errorf("creating merchant: %w", err)
	}
	return merchantID, apiKey, nil
}

// CreateNamedOnce makes a key for the oldest merchant of that name, and the merchant if there is none. Names are not
// unique: this is for dev, where one process uses the name.
func CreateNamedOnce(ctx context.Context, db *pgxpool.Pool, name string) (merchantID int64, apiKey string, err error) {
	err = db.QueryRow(ctx, `SELECT id FROM merchants WHERE name = $1 ORDER BY created_at, id LIMIT 1`, name).Scan(&merchantID)
	if errors.Is(err, pgx.ErrNoRows) {
		return Create(ctx, db, name)
	}
	if err != nil {
		return 0, "", fmt.Errorf("finding merchant: %w", err)
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		apiKey, err = createKey(ctx, tx, merchantID)
		return err
	})
	return merchantID, apiKey, err
}

// createKey makes a key inside the caller's transaction.
func createKey(ctx context.Context, tx pgx.Tx, merchantID int64) (string, error) {
	token := newToken()
	sum := sha256.Sum256([]byte(token))
	_, err := tx.Exec(ctx, `INSERT INTO api_keys (merchant_id, id, secret_sha256) VALUES ($1, $2, $3)`,
		merchantID, uuid.Must(uuid.NewV7()), sum[:])
	if err != nil {
		return "", fmt.Errorf("creating API key: %w", err)
	}
	return token, nil
}

// randomID is positive, and below 2^53 so that a JSON reader keeps it exact.
func randomID() int64 {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return int64(binary.BigEndian.Uint64(random[:])%(1<<53-1)) + 1
}

var encoding = base32.HexEncoding.WithPadding(base32.NoPadding)

func newToken() string {
	secret := make([]byte, secretBytes, secretBytes+checksumBytes)
	_, _ = rand.Read(secret) // never fails, see crypto/rand
	return format(withChecksum(secret))
}

func withChecksum(secret []byte) []byte {
	return binary.BigEndian.AppendUint32(secret, crc32.ChecksumIEEE(secret))
}

// wellFormed tells whether the token could have been issued. It needs no secret, so it need not take constant time.
func wellFormed(token string) bool {
	digits, _ := strings.CutPrefix(token, keyPrefix)
	raw, err := encoding.DecodeString(strings.ToUpper(digits))
	if err != nil || len(raw) != secretBytes+checksumBytes {
		return false
	}
	// Written again, so that each key has one spelling: a decoder overlooks spare bits and line ends.
	return token == format(withChecksum(raw[:secretBytes:secretBytes]))
}

func format(raw []byte) string { return keyPrefix + strings.ToLower(encoding.EncodeToString(raw)) }

// Authenticator checks API keys.
type Authenticator struct {
	pool  *pgxpool.Pool
	cache *lru.Cache[[sha256.Size]byte, remembered]
	asked singleflight.Group // one query per key at a time, however many requests come with it
}

type remembered struct {
	Identity
	until time.Time
}

// NewAuthenticator reads keys from pool.
func NewAuthenticator(pool *pgxpool.Pool) *Authenticator {
	cache, err := lru.New[[sha256.Size]byte, remembered](cacheSizeMax)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Authenticator{pool: pool, cache: cache}
}

// Authenticate returns whose the token is, ErrUnauthorized if it is nobody's, or another error if that cannot be found out now.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Identity, error) {
	if !wellFormed(token) {
		return Identity{}, ErrUnauthorized
	}
	sum := sha256.Sum256([]byte(token))
	if known, ok := a.cache.Get(sum); ok && time.Now().Before(known.until) {
		return known.Identity, nil
	}
	answer := a.asked.DoChan(string(sum[:]), func() (any, error) {
		// The answer is for everybody who waits for it, so no single caller's context ends the question.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CacheFor)
		defer cancel()
		return a.ask(ctx, sum)
	})
	select {
	case found := <-answer:
		if found.Err != nil {
			return Identity{}, found.Err
		}
		return found.Val.(Identity), nil
	case <-ctx.Done():
		return Identity{}, fmt.Errorf("looking up an API key: %w", ctx.Err())
	}
}

func (a *Authenticator) ask(ctx context.Context, sum [sha256.Size]byte) (Identity, error) {
	until := time.Now().Add(CacheFor) // counted from before the question, so that the promise about revocation holds
	var identity Identity
	err := a.pool.QueryRow(ctx, `
		SELECT merchant_id, id, read_only
		FROM api_keys
		WHERE secret_sha256 = $1 AND revoked_at IS NULL`, sum[:],
	).Scan(&identity.MerchantID, &identity.KeyID, &identity.ReadOnly)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		a.cache.Remove(sum)
		return Identity{}, ErrUnauthorized
	case err != nil:
		return Identity{}, fmt.Errorf("looking up an API key: %w", err)
	}
	a.cache.Add(sum, remembered{identity, until})
	return identity, nil
}
