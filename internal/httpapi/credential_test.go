package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// A refusal does not say what is wrong with the credential.
func TestEveryInvalidCredentialGetsTheSameAnswer(t *testing.T) {
	m := onOneInstance(t)
	in := m.first
	_, elsewhere, err := merchants.Create(t.Context(), pgtest.New(t).Pool, "on another database")
	if err != nil {
		t.Fatal(err)
	}
	revoked := m.secondKey()
	m.revoke(revoked)
	digits := strings.TrimPrefix(m.apiKey, "sk_")

	var told string
	for _, test := range []struct {
		name   string
		header []string
	}{
		{"no header", nil},
		{"no scheme", []string{m.apiKey}},
		{"an empty token", []string{"Bearer "}},
		{"another scheme", []string{"Basic " + m.apiKey}},
		{"no prefix", []string{"Bearer " + digits}},
		{"upper case", []string{"Bearer sk_" + strings.ToUpper(digits)}},
		{"a character more", []string{"Bearer " + m.apiKey + "0"}},
		{"something after it", []string{"Bearer " + m.apiKey + " x"}},
		{"a wrong checksum", []string{"Bearer " + flipLast(m.apiKey)}},
		{"16 KiB", []string{"Bearer sk_" + strings.Repeat("0", 16<<10)}},
		{"two headers", []string{"Bearer " + m.apiKey, "Bearer " + m.apiKey}},
		{"a well-formed key of nobody", []string{"Bearer " + elsewhere}},
		{"a revoked key", []string{"Bearer " + revoked}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := m.in(t)
			refused := m.send(in, call{
				method: "POST", path: "/payments", body: aliceToShop(1).String(),
				header: http.Header{"Authorization": test.header, "Idempotency-Key": {"k"}},
			}).wantProblem("unauthorized")
			if told == "" {
				told = refused.withoutIDs()
			}
			if refused.withoutIDs() != told {
				refused.fail("differs from what others are told: %s", told)
			}
		})
	}
	m.wantPayments(0)
}

// flipLast changes the last character of a key, which is part of its checksum.
func flipLast(apiKey string) string {
	last := "0"
	if strings.HasSuffix(apiKey, last) {
		last = "8"
	}
	return apiKey[:len(apiKey)-1] + last
}

// RFC 9110, section 11.1: the scheme's case does not matter.
func TestCredentialIsReadFromTheHeaderOnly(t *testing.T) {
	m := onOneInstance(t)
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		header := http.Header{"Authorization": {scheme + " " + m.apiKey}}
		m.send(m.first, call{path: "/accounts/alice", header: header}).want(200)
	}
	for _, parameter := range []string{"api_key", "access_token", "key", "token"} {
		header := http.Header{"Authorization": nil}
		path := "/accounts/alice?" + parameter + "=" + m.apiKey
		m.send(m.first, call{path: path, header: header}).wantProblem("unauthorized")
	}
}

// Whether a key is valid cannot be known without the database. That is no reason to
// tell its owner that it is not.
func TestDatabaseOutageRefusesNoCredential(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	up := newInstance(t, db.URL)
	m := newMerchant(t, db, up, up)
	down := newDownInstance(t, db)
	m.send(down, call{path: "/accounts/alice"}).wantProblem("unavailable")
	m.chargeOn(down, "k", aliceToShop(100).String()).wantProblem("unavailable")
	m.as("sk_"+uuid.NewString()).chargeOn(down, "k",
		aliceToShop(100).String()).wantProblem("unauthorized")
	m.charge("k", aliceToShop(100)).want(201).wantFresh()
}

// An idempotency key belongs to the merchant and not to the API key, so a caller may
// change its API key between two tries.
func TestARetryUnderAnotherAPIKeyIsAReplay(t *testing.T) {
	m := onTwoInstances(t)
	first, renewed := m.charge("k", aliceToShop(100)).want(201), m.as(m.secondKey())
	renewed.retry("k", aliceToShop(100)).wantReplayOf(first)
	renewed.retry("k", aliceToShop(101)).wantProblem("idempotency_key_reused")
	m.wantBalance("shop", 100)
}
