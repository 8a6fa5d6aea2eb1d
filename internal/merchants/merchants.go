// Package merchants holds merchants and their API keys, and authenticates requests.
//
// An API key is a bearer token. The database stores only its SHA-256. The secret is 160
// random bits, so a slow hash would protect nothing. The token ends in a checksum: a
// truncated or invented token is refused without a query, and a scanner recognises a
// leaked one.
//
// Every request is authenticated, so a valid key is remembered for [CacheFor]. A revoked
// key may work that long on each instance. Look-ups are bounded, so invented keys cost
// the database little (see [Authenticator]).
//
// Secrets are never compared with each other, only SHA-256 sums. Timing may show how
// many bytes of two sums agree, but that says nothing about the secrets.
package merchants

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	keyPrefix     = "sk_"
	secretBytes   = 20
	checksumBytes = 4
)

// Merchant is one merchant.
type Merchant struct {
	ID        int64
	Name      string
	CreatedAt time.Time
}

// List lists all merchants, oldest first.
func List(ctx context.Context, db *pgxpool.Pool) ([]Merchant, error) {
	rows, err := db.Query(ctx, `
		SELECT id, name, created_at
		FROM merchants
		ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("listing merchants: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Merchant])
	if err != nil {
		return nil, fmt.Errorf("listing merchants: %w", err)
	}
	return all, nil
}

// Create makes a merchant and its first API key. It alone returns that key.
func Create(
	ctx context.Context, db *pgxpool.Pool, name string,
) (merchantID int64, apiKey string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		merchantID = randomID()
		_, err := tx.Exec(ctx, `
			INSERT INTO merchants (id, name)
			VALUES ($1, $2)`, merchantID, name)
		if err != nil {
			return err
		}
		_, apiKey, err = createKey(ctx, tx, merchantID, false)
		return err
	})
	if err != nil {
		return 0, "", fmt.Errorf("creating merchant: %w", err)
	}
	return merchantID, apiKey, nil
}

// CreateNamedOnce makes a key for the oldest merchant of that name. If there is none, it
// makes the merchant too. Two concurrent calls could make two merchants: names are not
// unique. It is for dev, which is one process.
func CreateNamedOnce(
	ctx context.Context, db *pgxpool.Pool, name string,
) (merchantID int64, apiKey string, err error) {
	err = db.QueryRow(ctx, `
		SELECT id
		FROM merchants
		WHERE name = $1
		ORDER BY created_at, id
		LIMIT 1`, name).Scan(&merchantID)
	if errors.Is(err, pgx.ErrNoRows) {
		return Create(ctx, db, name)
	}
	if err != nil {
		return 0, "", fmt.Errorf("finding merchant: %w", err)
	}
	_, apiKey, err = CreateKey(ctx, db, merchantID, false)
	return merchantID, apiKey, err
}

// randomID is positive and below 2^53, so every JSON reader keeps it exact.
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

// wellFormed tells whether the token has the form of an API key. It uses no secret, so
// its time may vary.
func wellFormed(token string) bool {
	digits, _ := strings.CutPrefix(token, keyPrefix)
	raw, err := encoding.DecodeString(strings.ToUpper(digits))
	if err != nil || len(raw) != secretBytes+checksumBytes {
		return false
	}
	// The decoder ignores spare bits and line ends. The comparison allows one spelling.
	return token == format(withChecksum(raw[:secretBytes:secretBytes]))
}

func format(raw []byte) string { return keyPrefix + strings.ToLower(encoding.EncodeToString(raw)) }
