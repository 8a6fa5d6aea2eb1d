package httpapi_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

// storedFingerprint is how a charge of these texts is stored, written down here once
// more: what an older release has stored, a newer one must recognise for ever.
func storedFingerprint(amount int64, texts map[string]string) []byte {
	f := idempotency.NewFingerprinter("charge")
	f.Int("amount", amount)
	members := []string{
		"currency", "source_account", "payment_method", "destination_account",
		"reference", "description", "capture",
	}
	for _, member := range members {
		f.Text(member, texts[member])
	}
	sum := f.Sum()
	return sum.Sum[:]
}

// becomes makes a stored charge that of another request, as if an older release had
// accepted that.
func (m *merchant) becomes(key string, fingerprint []byte) {
	m.t.Helper()
	m.forge(`UPDATE idempotency_keys SET fingerprint = $3 WHERE merchant_id = $1 AND key = $2`,
		m.id, key, fingerprint)
}

// An answered key replays even if a later release has tightened the rule.
func TestARuleThatBecameStricterChangesNoAnswer(t *testing.T) {
	plain := map[string]string{
		"currency": "USD", "source_account": "alice",
		"destination_account": "shop",
	}
	rows := []struct {
		name   string
		amount int64
		member string // that an older release took
		value  string
	}{
		{"an amount that is too small", -5, "", ""},
		{"a currency that is none any more", 100, "currency", "DEM"},
		{"an account that pays itself", 100, "destination_account", "alice"},
		{"a reference that is too long", 100, "reference", strings.Repeat("r", 129)},
		{"a description that is too long", 100, "description", strings.Repeat("d", 501)},
		{"a source that does not exist any more", 100, "source_account", "nobody"},
	}
	m := onTwoInstances(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := m.another(t)
			texts := maps.Clone(plain)
			if row.member != "" {
				texts[row.member] = row.value
			}
			refused := body{"amount": row.amount}
			for member, text := range texts {
				refused[member] = text
			}
			m.charge("free", refused).want(422)

			accepted := m.charge("k", aliceToShop(100)).want(201)
			m.becomes("k", storedFingerprint(row.amount, texts))
			m.retry("k", refused).wantReplayOf(accepted)
			m.retry("k", aliceToShop(100)).wantProblem("idempotency_key_reused")
			m.wantShopGot(100)
		})
	}
}

// During a deploy a key may have been taken by a release whose encoding this one does
// not know. Whether the request is the same cannot be told then, so it is neither
// replayed nor refused for good.
func TestAKeyOfANewerReleaseIsLeftToThatRelease(t *testing.T) {
	m := onTwoInstances(t)
	paid := m.charge("k", aliceToShop(100)).want(201)
	m.forge(`UPDATE idempotency_keys SET fingerprint_version = 2
		WHERE merchant_id = $1 AND key = 'k'`, m.id)
	for _, b := range []body{aliceToShop(100), aliceToShop(101), aliceToShop(0)} {
		m.retry("k", b).wantProblem("unavailable").wantFresh()
	}
	m.forge(`UPDATE idempotency_keys SET fingerprint_version = 1
		WHERE merchant_id = $1 AND key = 'k'`, m.id)
	m.retry("k", aliceToShop(100)).wantReplayOf(paid)
	m.wantShopGot(100)
}
