package merchants

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Reasons to refuse to create, list or revoke a key.
var (
	ErrNoMerchant = errors.New("there is no such merchant")
	ErrNoKey      = errors.New("there is no such API key")
)

// Key is an API key without its secret (see [CreateKey]).
type Key struct {
	MerchantID int64
	ID         uuid.UUID
	ReadOnly   bool
	CreatedAt  time.Time
	RevokedAt  *time.Time // nil: the key is valid
}

const keyIDPrefix = "key_"

// FormatKeyID writes a key's id, which is no secret: "key_" and 32 hexadecimal digits.
func FormatKeyID(id uuid.UUID) string { return keyIDPrefix + hex.EncodeToString(id[:]) }

// ParseKeyID reads the text of FormatKeyID. Any other text is ErrNoKey.
func ParseKeyID(text string) (id uuid.UUID, err error) {
	digits, ok := strings.CutPrefix(text, keyIDPrefix)
	if raw, err := hex.DecodeString(digits); err == nil && ok && len(raw) == len(id) {
		return uuid.UUID(raw), nil
	}
	return id, ErrNoKey
}

// CreateKey makes a key for a merchant, or returns ErrNoMerchant. It alone returns the
// secret. The key works at once, on every instance.
func CreateKey(
	ctx context.Context, db *pgxpool.Pool, merchantID int64, readOnly bool,
) (key Key, apiKey string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		key, apiKey, err = createKey(ctx, tx, merchantID, readOnly)
		return err
	})
	if err != nil {
		return Key{}, "", err
	}
	return key, apiKey, nil
}

// createKey makes a key inside the caller's transaction.
func createKey(
	ctx context.Context, tx pgx.Tx, merchantID int64, readOnly bool,
) (Key, string, error) {
	key := Key{MerchantID: merchantID, ID: uuid.Must(uuid.NewV7()), ReadOnly: readOnly}
	token := newToken()
	sum := sha256.Sum256([]byte(token))
	err := tx.QueryRow(ctx, `
		INSERT INTO api_keys (merchant_id, id, secret_sha256, read_only)
		VALUES ($1, $2, $3, $4)
		RETURNING created_at`, key.MerchantID, key.ID, sum[:], key.ReadOnly).Scan(&key.CreatedAt)
	// With sharded tables, the constraint's name ends in the number of a shard.
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && strings.HasPrefix(refused.ConstraintName, "api_keys_merchant_exists") {
		return Key{}, "", ErrNoMerchant
	}
	if err != nil {
		return Key{}, "", fmt.Errorf("creating API key: %w", err)
	}
	return key, token, nil
}

// Keys lists a merchant's keys, including revoked ones, oldest first. Without such a
// merchant it returns ErrNoMerchant.
func Keys(ctx context.Context, db *pgxpool.Pool, merchantID int64) ([]Key, error) {
	rows, err := db.Query(ctx, `
		SELECT merchant_id, id, read_only, created_at, revoked_at
		FROM api_keys
		WHERE merchant_id = $1
		ORDER BY created_at, id`, merchantID)
	if err != nil {
		return nil, fmt.Errorf("listing API keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
	if err != nil {
		return nil, fmt.Errorf("listing API keys: %w", err)
	}
	if len(keys) > 0 {
		return keys, nil
	}
	var exists bool
	err = db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM merchants WHERE id = $1)`, merchantID).Scan(&exists)
	if err != nil {
		return nil, fmt.Errorf("looking for the merchant: %w", err)
	}
	if !exists {
		return nil, ErrNoMerchant
	}
	return keys, nil
}

// Revoke revokes a key, or returns ErrNoKey. After [CacheFor] no instance accepts the
// key. A repetition changes nothing.
func Revoke(ctx context.Context, db *pgxpool.Pool, id uuid.UUID) (key Key, err error) {
	// This reads all keys: no index begins with the id. There are few keys, and a person
	// runs this.
	if _, err := db.Exec(ctx, `
		UPDATE api_keys SET revoked_at = statement_timestamp()
		WHERE id = $1 AND revoked_at IS NULL`, id); err != nil {
		return Key{}, fmt.Errorf("revoking API key: %w", err)
	}
	err = db.QueryRow(ctx, `
		SELECT merchant_id, id, read_only, created_at, revoked_at FROM api_keys WHERE id = $1`, id,
	).Scan(&key.MerchantID, &key.ID, &key.ReadOnly, &key.CreatedAt, &key.RevokedAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Key{}, ErrNoKey
	case err != nil:
		return Key{}, fmt.Errorf("revoking API key: %w", err)
	}
	return key, nil
}
