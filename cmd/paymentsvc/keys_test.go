package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// command runs a command on a database, and returns its exit code and what it wrote.
func command(t *testing.T, db *pgtest.DB, args ...string) (code int, out, complaints string) {
	t.Helper()
	var stdout, stderr output
	code = run(t.Context(), append(args, "--database-url", db.URL),
		terminal{out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

// succeed runs a command that must succeed, and reads its JSON, which is one line and
// all that it prints.
func succeed(t *testing.T, db *pgtest.DB, result any, args ...string) (out string) {
	t.Helper()
	code, out, complaints := command(t, db, args...)
	if code != 0 || complaints != "" || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: exit code %d\n%s\n%s", args, code, out, complaints)
	}
	if err := json.Unmarshal([]byte(out), result); err != nil {
		t.Fatalf("%v: %v in %s", args, err, out)
	}
	return out
}

type printedKey struct {
	KeyID      string  `json:"key_id"`
	MerchantID string  `json:"merchant_id"`
	APIKey     string  `json:"api_key"`
	ReadOnly   bool    `json:"read_only"`
	CreatedAt  string  `json:"created_at"`
	RevokedAt  *string `json:"revoked_at"`
}

// An operator makes another key, and then ends the old one.
func TestAnOperatorChangesAMerchantsKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var merchant, second, reader, revoked, again printedKey
	succeed(t, db, &merchant, "merchants", "create", "A shop")
	succeed(t, db, &second, "keys", "create", "--merchant", merchant.MerchantID)
	succeed(t, db, &reader, "keys", "create", "--merchant", merchant.MerchantID, "--read-only")
	if second.MerchantID != merchant.MerchantID || second.ReadOnly || !reader.ReadOnly ||
		second.APIKey == merchant.APIKey {
		t.Errorf("made were %+v and %+v", second, reader)
	}

	var all struct {
		Data []struct {
			MerchantID string `json:"merchant_id"`
			Name       string
		}
	}
	succeed(t, db, &all, "merchants", "list")
	if last := len(all.Data) - 1; last < 0 || all.Data[last].Name != "A shop" ||
		all.Data[last].MerchantID != merchant.MerchantID {
		t.Errorf("the merchants are %+v", all)
	}

	var list struct{ Data []printedKey }
	printed := succeed(t, db, &list, "keys", "list", "--merchant", merchant.MerchantID)
	if len(list.Data) != 3 || list.Data[1].KeyID != second.KeyID ||
		list.Data[2].KeyID != reader.KeyID || list.Data[1].RevokedAt != nil {
		t.Fatalf("listed is %s", printed)
	}
	for _, key := range []printedKey{merchant, second, reader} {
		if !strings.HasPrefix(key.APIKey, "sk_") ||
			strings.Contains(printed, strings.TrimPrefix(key.APIKey, "sk_")) {
			t.Errorf("the secret %q is listed, or is none", key.APIKey)
		}
	}

	succeed(t, db, &revoked, "keys", "revoke", list.Data[0].KeyID)
	succeed(t, db, &again, "keys", "revoke", list.Data[0].KeyID)
	if revoked.RevokedAt == nil || again.RevokedAt == nil ||
		*again.RevokedAt != *revoked.RevokedAt {
		t.Errorf("revoked is %+v, and the second time %+v", revoked, again)
	}
	authenticator := merchants.NewAuthenticator(db.Pool)
	for _, key := range []printedKey{merchant, second, reader} {
		identity, err := authenticator.Authenticate(t.Context(), key.APIKey)
		if good := key != merchant; (err == nil) != good || identity.ReadOnly != key.ReadOnly {
			t.Errorf("%s stands for %+v, %v", key.KeyID, identity, err)
		}
	}
}

func TestCommandsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"keys create --merchant 1", 1, "merchant 1: there is no such merchant"},
		{"keys list --merchant 1", 1, "merchant 1: there is no such merchant"},
		{"keys create", 2, "--merchant"},
		{"keys revoke sk_secret", 1, "there is no such API key"},
		{"audit --limit 0", 2, "--limit must be at least 1"},
		{"audit --limit=-1", 2, "--limit must be at least 1"},
	} {
		code, out, complaints := command(t, db, strings.Fields(test.args)...)
		if code != test.code || out != "" || !strings.Contains(complaints, test.says) ||
			strings.Contains(complaints, "sk_secret") {
			t.Errorf("%v: exit code %d, %q, %q", test.args, code, out, complaints)
		}
	}
}
