package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// keysCommand is paymentsvc keys. To rotate a key without downtime, create another,
// hand it out, and revoke the first.
type keysCommand struct {
	Create keysCreateCommand `cmd:"" help:"${keys_create}"`
	List   keysListCommand   `cmd:"" help:"${keys_list}"`
	Revoke keysRevokeCommand `cmd:"" help:"Revoke an API key on every instance, within seconds."`
}

// keyJSON is an API key without its secret.
type keyJSON struct {
	KeyID      string  `json:"key_id"`
	MerchantID string  `json:"merchant_id"`
	ReadOnly   bool    `json:"read_only"`
	CreatedAt  string  `json:"created_at"`
	RevokedAt  *string `json:"revoked_at"` // null: it is valid
}

func viewKey(key merchants.Key) keyJSON {
	view := keyJSON{
		KeyID:      merchants.FormatKeyID(key.ID),
		MerchantID: strconv.FormatInt(key.MerchantID, 10),
		ReadOnly:   key.ReadOnly,
		CreatedAt:  formatTime(key.CreatedAt),
	}
	if key.RevokedAt != nil {
		at := formatTime(*key.RevokedAt)
		view.RevokedAt = &at
	}
	return view
}

func formatTime(at time.Time) string { return at.UTC().Format(payments.TimeFormat) }

type keysCreateCommand struct {
	databaseFlags
	Merchant int64 `required:"" help:"The merchant's id." placeholder:"ID"`
	ReadOnly bool  `help:"The key may only read."`
}

// Run creates the key.
func (c *keysCreateCommand) Run(ctx context.Context, term terminal) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		key, secret, err := merchants.CreateKey(ctx, pool, c.Merchant, c.ReadOnly)
		if err != nil {
			return fmt.Errorf("merchant %d: %w", c.Merchant, err)
		}
		return printJSON(term, struct {
			keyJSON `json:",inline"`
			APIKey  string `json:"api_key"`
		}{viewKey(key), secret})
	})
}

type keysListCommand struct {
	databaseFlags
	Merchant int64 `required:"" help:"The merchant's id." placeholder:"ID"`
}

// Run lists the keys.
func (c *keysListCommand) Run(ctx context.Context, term terminal) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		keys, err := merchants.Keys(ctx, pool, c.Merchant)
		if err != nil {
			return fmt.Errorf("merchant %d: %w", c.Merchant, err)
		}
		list := struct {
			Data []keyJSON `json:"data"`
		}{make([]keyJSON, len(keys))}
		for i, key := range keys {
			list.Data[i] = viewKey(key)
		}
		return printJSON(term, list)
	})
}

type keysRevokeCommand struct {
	databaseFlags
	KeyID string `arg:"" help:"The key's id, not the key itself." placeholder:"KEY_ID"`
}

// Run revokes the key.
func (c *keysRevokeCommand) Run(ctx context.Context, term terminal) error {
	id, err := merchants.ParseKeyID(c.KeyID)
	if err != nil { // the argument may be the key itself, so it is not printed
		return fmt.Errorf(
			"%w: a key's id is key_ and 32 hexadecimal digits, as keys list prints it", err,
		)
	}
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		key, err := merchants.Revoke(ctx, pool, id)
		if err != nil {
			return fmt.Errorf("key %s: %w", c.KeyID, err)
		}
		return printJSON(term, viewKey(key))
	})
}
