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

// printJSON prints a command's result on one line.
func printJSON(term terminal, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(term.out, "%s\n", text)
	return err
}
