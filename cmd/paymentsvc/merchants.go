package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
)

// merchantsCommand is paymentsvc merchants.
type merchantsCommand struct {
	Create merchantsCreateCommand `cmd:"" help:"${merchant}"`
	List   merchantsListCommand   `cmd:"" help:"List the merchants, oldest first."`
}

type merchantsCreateCommand struct {
	databaseFlags
	Name string `arg:"" help:"The merchant's name."`
}

// Run creates the merchant.
func (c *merchantsCreateCommand) Run(ctx context.Context, term terminal) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		id, key, err := merchants.Create(ctx, pool, c.Name)
		if err != nil {
			return err
		}
		return printJSON(term, struct {
			MerchantID string `json:"merchant_id"`
			APIKey     string `json:"api_key"`
		}{strconv.FormatInt(id, 10), key})
	})
}

type merchantsListCommand struct{ databaseFlags }

// Run lists the merchants.
func (c *merchantsListCommand) Run(ctx context.Context, term terminal) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		all, err := merchants.List(ctx, pool)
		if err != nil {
			return err
		}
		type merchantJSON struct {
			MerchantID string `json:"merchant_id"`
			Name       string `json:"name"`
			CreatedAt  string `json:"created_at"`
		}
		list := struct {
			Data []merchantJSON `json:"data"`
		}{make([]merchantJSON, len(all))}
		for i, m := range all {
			list.Data[i] = merchantJSON{
				strconv.FormatInt(m.ID, 10), m.Name, formatTime(m.CreatedAt),
			}
		}
		return printJSON(term, list)
	})
}

// printJSON prints a command's result on one line.
func printJSON(term terminal, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(term.out, "%s\n", text)
	return err
}
