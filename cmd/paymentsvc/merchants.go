package main

import (
	"context"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
)

// merchantsCommand is paymentsvc merchants.
type merchantsCommand struct {
	Create merchantsCreateCommand `cmd:"" help:"Create a merchant, and print it with its API key, which is shown this once."`
}

type merchantsCreateCommand struct {
	databaseFlags
	Name string `arg:"" help:"The merchant's name."`
}

// Run creates the merchant.
func (c *merchantsCreateCommand) Run(ctx context.Context, term terminal) error {
	if err := c.check(); err != nil {
		return err
	}
	pools, err := postgres.Open(ctx, postgres.Options{URL: c.DatabaseURL, GeneralSize: 1, MoneySize: 1})
	if err != nil {
		return err
	}
	defer pools.Close()
	id, key, err := merchants.Create(ctx, pools.General, c.Name)
	if err != nil {
		return err
	}
	return json.MarshalWrite(term.out, struct {
		MerchantID string `json:"merchant_id"`
		APIKey     string `json:"api_key"`
	}{strconv.FormatInt(id, 10), key}, jsontext.Multiline(false))
}
