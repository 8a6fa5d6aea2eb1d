package torture

import (
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/service"
)

// Package migrations shows it of every constraint and trigger.
func TestInstanceRefusesASchemaThatCannotKeepItsPromises(t *testing.T) {
	t.Parallel()
	for reason, breakage := range map[string]string{
		"idempotency_keys_pkey": `
			ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey`,
		"needs a build that knows 99": `
			INSERT INTO schema_versions (version, breaks_older_builds) VALUES (99, true)`,
	} {
		db := pgtest.NewBroken(t)
		if _, err := db.Pool.Exec(t.Context(), breakage); err != nil {
			t.Fatal(err)
		}
		refused(t, []string{"DATABASE_URL=" + db.URL, service.AllowDataLoss}, reason)
	}
}

// A deploy migrates first and replaces the instances after, so an older build meets a
// newer schema.
func TestInstanceAcceptsANewerSchemaThatItCanLiveWith(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	b.exec(`INSERT INTO schema_versions (version) VALUES (99)`)
	in := service.Start(t, b.url, service.AllowDataLoss)
	b.chargedOnce(key(0), b.merchant.Charge(t.Context(), in.URL(), key(0), journal.NewCharge(100)),
		b.charge(0, key(0)))
}
