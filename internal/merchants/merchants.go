// Package merchants knows who may ask.
//
// A merchant's credential is an API key, a bearer token. Only its SHA-256 is stored:
// the secret is 160 random bits, so there is nothing that a slow hash would protect.
// The token ends in a checksum, so that a truncated or invented one is refused without
// a query, and a scanner can recognise a leaked one.
//
// Authentication is in front of every request, so a valid key is remembered for
// [CacheFor]. A revoked key may go on working that long, on each instance. Look-ups are
// bounded, so that invented keys cost the database little (see [Authenticator]).
//
// Nothing here compares a secret with a secret. The database and the cache are asked
// for a key's SHA-256: how far two of those agree, which a clock might tell, says
// nothing about a key.
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	keyPrefix     = "sk_"
	secretBytes   = 20
	checksumBytes = 4
)

// Create makes a merchant and its first API key. The key is returned here and never
// again.
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

// CreateNamedOnce makes a key for the oldest merchant of that name, and the merchant if
// there is none. Names are not unique: this is for dev, where one process uses the
// name.
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

// wellFormed tells whether the token could have been issued. It needs no secret, so it
// need not take constant time.
func wellFormed(token string) bool {
	digits, _ := strings.CutPrefix(token, keyPrefix)
	raw, err := encoding.DecodeString(strings.ToUpper(digits))
	if err != nil || len(raw) != secretBytes+checksumBytes {
		return false
	}
	// Written again, so that each key has one spelling: a decoder overlooks spare bits
	// and line ends.
	return token == format(withChecksum(raw[:secretBytes:secretBytes]))
}

func format(raw []byte) string { return keyPrefix + strings.ToLower(encoding.EncodeToString(raw)) }
