package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
)

// continueWait is how long a client waits for "100 Continue".
const continueWait = 20 * time.Second

// Currency is that of all accounts here.
const Currency = "USD"

// The accounts of every merchant here: World has no floor, Poor has no money, and Shops
// are paid.
const (
	World = "world"
	Poor  = "poor"
)

// Shops are several, so that charges meet on some accounts and not on all.
var Shops = []string{"shop-0", "shop-1", "shop-2"}

// Merchant is a caller of the service. Its client keeps connections alive.
type Merchant struct {
	ID     int64
	APIKey string
	// Traceparent goes with every request, if it is set: the caller's own trace.
	Traceparent string
	HTTP        *http.Client
}

// NewMerchant creates a merchant with its accounts, which it opens at the instance.
func NewMerchant(t testing.TB, in interface{ URL() string }, databaseURL string) *Merchant {
	t.Helper()
	m := CreateMerchant(t, databaseURL)
	m.OpenAccounts(t, in.URL())
	return m
}

// OpenAccounts makes the accounts that charges here are between.
func (m *Merchant) OpenAccounts(t testing.TB, baseURL string) {
	t.Helper()
	unlimited := []byte(`{"currency":"` + Currency + `","overdraft_limit":null}`)
	m.putAccount(t, baseURL, World, unlimited)
	for _, id := range append([]string{Poor}, Shops...) {
		m.putAccount(t, baseURL, id, []byte(`{"currency":"`+Currency+`"}`))
	}
}

// CreateMerchant creates a merchant in a database. It has no accounts.
func CreateMerchant(t testing.TB, databaseURL string) *Merchant {
	t.Helper()
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		t.Fatalf("creating a merchant: %v", err)
	}
	// a URL may name a standby too
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("creating a merchant: %v", err)
	}
	defer pool.Close()
	id, apiKey, err := merchants.Create(t.Context(), pool, "Test")
	if err != nil {
		t.Fatalf("creating a merchant: %v", err)
	}
	return newMerchant(t, id, apiKey)
}

// ReadMerchant is the merchant that `paymentsvc merchants create` has printed.
func ReadMerchant(t testing.TB, printed string) *Merchant {
	t.Helper()
	var created struct {
		MerchantID string `json:"merchant_id"`
		APIKey     string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(printed), &created); err != nil {
		t.Fatalf("reading a merchant: %v in %s", err, printed)
	}
	id, err := strconv.ParseInt(created.MerchantID, 10, 64)
	if err != nil {
		t.Fatalf("reading a merchant: %v", err)
	}
	return newMerchant(t, id, created.APIKey)
}

func newMerchant(t testing.TB, id int64, apiKey string) *Merchant {
	transport := &http.Transport{
		MaxIdleConnsPerHost: 256, ExpectContinueTimeout: continueWait, DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &Merchant{ID: id, APIKey: apiKey, HTTP: &http.Client{Transport: transport}}
}

func (m *Merchant) putAccount(t testing.TB, baseURL, id string, terms []byte) {
	t.Helper()
	if answer := m.Do(t.Context(), http.MethodPut, baseURL+"/accounts/"+id, "",
		terms); answer.Status != http.StatusCreated {
		t.Fatalf("creating account %s: %v", id, answer)
	}
}

// Charge is a request to charge, with the members that these tests vary. It has a source
// or a payment method.
type Charge struct {
	Amount        int64  `json:"amount"`
	Currency      string `json:"currency"`
	Source        string `json:"source_account,omitempty"`
	PaymentMethod string `json:"payment_method,omitempty"`
	Destination   string `json:"destination_account"`

	AuthorizeOnly bool `json:"-"` // "capture" is false
}

// NewCharge is a charge that will succeed.
func NewCharge(amount int64) Charge {
	return Charge{Amount: amount, Currency: Currency, Source: World, Destination: Shops[0]}
}

// NewCardCharge is a charge by card.
func NewCardCharge(amount int64, method string) Charge {
	return Charge{
		Amount: amount, Currency: Currency, PaymentMethod: method, Destination: Shops[0],
	}
}

// source is the account that the money comes from.
func (c Charge) source() string {
	if c.PaymentMethod != "" {
		return "processor:stripe:" + c.Currency
	}
	return c.Source
}

// declined tells whether the charge's source or card has no money.
func (c Charge) declined() bool {
	return c.Source == Poor || c.PaymentMethod == declinedCard
}

// Body is the request's body.
func (c Charge) Body() []byte {
	request := struct {
		Charge
		Capture *bool `json:"capture,omitempty"`
	}{Charge: c}
	if c.AuthorizeOnly {
		request.Capture = new(false)
	}
	body, err := json.Marshal(request)
	if err != nil {
		panic(err) // texts and a number
	}
	return body
}

// Charge sends a charge once.
func (m *Merchant) Charge(ctx context.Context, baseURL, key string, charge Charge) Answer {
	return m.Do(ctx, http.MethodPost, baseURL+"/payments", key, charge.Body())
}

// ChargeExpecting is Charge, except that the body is sent when the service asks for it
// with "100 Continue". That is the moment at which it has accepted the request.
func (m *Merchant) ChargeExpecting(
	ctx context.Context, baseURL, key string, charge Charge,
) Answer {
	r, err := m.request(ctx, http.MethodPost, baseURL+"/payments", key, charge.Body())
	if err != nil {
		return Answer{Err: err}
	}
	r.Header.Set("Expect", "100-continue")
	return m.Send(r)
}

// Do sends a request once, whatever happens to it.
func (m *Merchant) Do(ctx context.Context, method, url, key string, body []byte) Answer {
	r, err := m.request(ctx, method, url, key, body)
	if err != nil {
		return Answer{Err: err}
	}
	return m.Send(r)
}

func (m *Merchant) request(
	ctx context.Context, method, url, key string, body []byte,
) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+m.APIKey)
	r.Header.Set("Content-Type", "application/json")
	if m.Traceparent != "" {
		r.Header.Set("Traceparent", m.Traceparent)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r, nil
}

// Send sends a request as it stands, once.
func (m *Merchant) Send(r *http.Request) (a Answer) {
	// Go's transport sends a request again, on its own, when a kept connection breaks,
	// if the request has an Idempotency-Key and its body can be had again. This one
	// cannot.
	r.GetBody = nil
	a.Sent = time.Now()
	defer func() { a.Done = time.Now() }()
	response, err := m.HTTP.Do(r)
	if err != nil {
		a.Err = err
		return a
	}
	defer response.Body.Close()
	a.Status, a.Header = response.StatusCode, response.Header
	a.Body, a.Err = io.ReadAll(response.Body)
	return a
}
