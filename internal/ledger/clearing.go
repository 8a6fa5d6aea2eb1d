package ledger

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// serviceAccountPrefix marks the accounts that the service itself keeps, such as a
// processor's clearing account.
const serviceAccountPrefix = "processor:"

// IsServiceAccount tells whether only the service itself may use the account.
func IsServiceAccount(id string) bool { return strings.HasPrefix(id, serviceAccountPrefix) }

// ClearingAccount is the account of what a card processor owes a merchant in a currency,
// for example processor:stripe:USD.
func ClearingAccount(processor string, currency Currency) string {
	return serviceAccountPrefix + processor + ":" + string(currency)
}

// OpenClearing makes the merchant's clearing account, unless there is one. It has no
// floor: it is below zero by what the processor owes the merchant.
func OpenClearing(
	ctx context.Context, pool *pgxpool.Pool, merchantID int64, processor string, currency Currency,
) error {
	_, err := pool.Exec(ctx, `
		INSERT INTO accounts (merchant_id, id, currency, overdraft_limit, name)
		VALUES ($1, $2, $3, NULL, $4)
		ON CONFLICT (merchant_id, id) DO NOTHING`,
		merchantID, ClearingAccount(processor, currency), currency, "clearing with "+processor)
	if err != nil {
		return fmt.Errorf("opening a clearing account: %w", err)
	}
	return nil
}
