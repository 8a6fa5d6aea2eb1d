package merchants_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// digits are those of base32 in its "extended hex" form, in lower case.
const digits = "0123456789abcdefghijklmnopqrstuv"

func create(t *testing.T, db *pgtest.DB) (merchantID int64, apiKey string) {
	t.Helper()
	merchantID, apiKey, err := merchants.Create(t.Context(), db.Pool, "merchant")
	if err != nil {
		t.Fatal(err)
	}
	return merchantID, apiKey
}

// exec changes one row.
func exec(t *testing.T, db *pgtest.DB, sql string, args ...any) {
	t.Helper()
	if tag, err := db.Pool.Exec(t.Context(), sql, args...); err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%s: %v, %v", sql, tag, err)
	}
}

func revoke(t *testing.T, db *pgtest.DB, apiKey string) {
	t.Helper()
	id := authenticate(t, merchants.NewAuthenticator(db.Pool), apiKey).KeyID
	if _, err := merchants.Revoke(t.Context(), db.Pool, id); err != nil {
		t.Fatal(err)
	}
}

// A key is a prefix that a scanner recognises, 128 random bits or more, and a checksum.
// The id of its merchant is random too, and fits a number of JSON.
func TestAKeyIsRandomThroughout(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const keys = 40
	var last int64
	var variety [39]map[rune]bool
	for range keys {
		id, apiKey := create(t, db)
		if id < 1 || id >= 1<<53 || id == last+1 {
			t.Errorf("merchant %d comes after %d; want random ids from 1 to 2^53-1", id, last)
		}
		last = id
		text, ok := strings.CutPrefix(apiKey, "sk_")
		if !ok || len(text) != len(variety) || strings.Trim(text, digits) != "" {
			t.Fatalf("%q is not sk_ and %d digits of base32", apiKey, len(variety))
		}
		for i, digit := range text {
			if variety[i] == nil {
				variety[i] = map[rune]bool{}
			}
			variety[i][digit] = true
		}
	}
	for i, digits := range variety {
		if len(digits) < 2 {
			t.Errorf("digit %d is the same in %d keys", i, keys)
		}
	}
}

// An operator makes and hands out a new key before the old one is revoked.
func TestTheKeysOfAMerchantWorkSideBySide(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, first, err := merchants.CreateNamedOnce(t.Context(), db.Pool, "shop")
	if err != nil {
		t.Fatal(err)
	}
	same, second, err := merchants.CreateNamedOnce(t.Context(), db.Pool, "shop")
	if err != nil || same != id || second == first {
		t.Fatalf("the second time it is merchant %d with key %q, %v", same, second, err)
	}
	if other, _, err := merchants.CreateNamedOnce(t.Context(), db.Pool,
		"another shop"); err != nil || other == id {
		t.Errorf("another name is merchant %d, %v", other, err)
	}
	authenticator := merchants.NewAuthenticator(db.Pool)
	one, two := authenticate(t, authenticator, first), authenticate(t, authenticator, second)
	if one.MerchantID != id || two.MerchantID != id || one.KeyID == two.KeyID {
		t.Errorf("the keys stand for %+v and %+v", one, two)
	}
	revoke(t, db, first)
	authenticator = merchants.NewAuthenticator(db.Pool)
	if _, err := authenticator.Authenticate(t.Context(), first); !errors.Is(err,
		merchants.ErrUnauthorized) {
		t.Errorf("the revoked key: %v", err)
	}
	authenticate(t, authenticator, second)
}

func authenticate(t *testing.T, a *merchants.Authenticator, apiKey string) merchants.Identity {
	t.Helper()
	identity, err := a.Authenticate(context.Background(), apiKey)
	if err != nil {
		t.Errorf("authenticating: %v", err)
	}
	return identity
}
