package merchants_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func keysOf(t *testing.T, db *pgtest.DB, merchantID int64) []merchants.Key {
	t.Helper()
	keys, err := merchants.Keys(t.Context(), db.Pool, merchantID)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeysAreMadeListedAndRevoked(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	id, first := create(t, db)
	other, _ := create(t, db)
	reader, secret, err := merchants.CreateKey(t.Context(), db.Pool, id, true)
	if err != nil || reader.MerchantID != id || !reader.ReadOnly || reader.CreatedAt.IsZero() ||
		reader.RevokedAt != nil {
		t.Fatalf("made was %+v, %v", reader, err)
	}
	keys := keysOf(t, db, id)
	if len(keys) != 2 || keys[0].ReadOnly || !same(keys[1], reader) ||
		len(keysOf(t, db, other)) != 1 {
		t.Fatalf("the keys are %+v", keys)
	}
	for _, text := range []string{first, secret} {
		if strings.Contains(fmt.Sprintf("%+v", keys), strings.TrimPrefix(text, "sk_")) {
			t.Errorf("a secret is listed: %+v", keys)
		}
	}

	revoked, err := merchants.Revoke(t.Context(), db.Pool, reader.ID)
	if err != nil || revoked.RevokedAt == nil || revoked.RevokedAt.Before(reader.CreatedAt) {
		t.Fatalf("revoked was %+v, %v", revoked, err)
	}
	again, err := merchants.Revoke(t.Context(), db.Pool, reader.ID)
	if err != nil || !same(again, revoked) {
		t.Errorf("the second time it was %+v, %v; and not %+v", again, err, revoked)
	}
	if keys := keysOf(t, db, id); len(keys) != 2 || keys[0].RevokedAt != nil ||
		!same(keys[1], revoked) {
		t.Errorf("the keys are %+v", keys)
	}
}

func same(a, b merchants.Key) bool {
	return a.MerchantID == b.MerchantID && a.ID == b.ID && a.ReadOnly == b.ReadOnly &&
		a.CreatedAt.Equal(b.CreatedAt) && (a.RevokedAt == nil) == (b.RevokedAt == nil) &&
		(a.RevokedAt == nil || a.RevokedAt.Equal(*b.RevokedAt))
}

func TestUnknownMerchantHasNoKeys(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, _, err := merchants.CreateKey(t.Context(), db.Pool, 1, false)
	if !errors.Is(err, merchants.ErrNoMerchant) {
		t.Errorf("a key for no merchant: %v", err)
	}
	if _, err := merchants.Keys(t.Context(), db.Pool, 1); !errors.Is(err,
		merchants.ErrNoMerchant) {
		t.Errorf("the keys of no merchant: %v", err)
	}
	if _, err := merchants.Revoke(t.Context(), db.Pool, uuid.Must(uuid.NewV7())); !errors.Is(err,
		merchants.ErrNoKey) {
		t.Errorf("revoking no key: %v", err)
	}
}

func TestKeyIDsRoundTrip(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	text := merchants.FormatKeyID(id)
	if got, err := merchants.ParseKeyID(text); err != nil || got != id {
		t.Errorf("%s is %v, %v", text, got, err)
	}
	for _, invented := range []string{"", "key_", text[4:], text + "0", text[:35], "key_" +
		strings.Repeat("g", 32), "sk_" + text[4:]} {
		if _, err := merchants.ParseKeyID(invented); !errors.Is(err, merchants.ErrNoKey) {
			t.Errorf("%q: %v", invented, err)
		}
	}
}
