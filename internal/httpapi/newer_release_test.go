package httpapi_test

import (
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
	m.forge(1, `UPDATE idempotency_keys SET fingerprint = $3 WHERE merchant_id = $1 AND key = $2`,
		m.id, key, fingerprint)
}

// During a deploy a key may have been taken by a release whose encoding this one does
// not know. Whether the request is the same cannot be told then, so it is neither
// replayed nor refused for good.
func TestAKeyOfANewerReleaseIsLeftToThatRelease(t *testing.T) {
	m := onTwoInstances(t)
	paid := m.charge("k", aliceToShop(100)).want(201)
	m.forge(1, `UPDATE idempotency_keys SET fingerprint_version = 2
		WHERE merchant_id = $1 AND key = 'k'`, m.id)
	for _, b := range []body{aliceToShop(100), aliceToShop(101), aliceToShop(0)} {
		m.retry("k", b).wantProblem("unavailable").wantFresh()
	}
	m.forge(1, `UPDATE idempotency_keys SET fingerprint_version = 1
		WHERE merchant_id = $1 AND key = 'k'`, m.id)
	m.retry("k", aliceToShop(100)).wantReplayOf(paid)
	m.wantBalance("shop", 100)
}
