package idempotency_test

import (
	"encoding/hex"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

func TestStoredFingerprintsStayTrue(t *testing.T) {
	f := idempotency.NewFingerprinter("charge")
	f.Int("amount", 4999)
	f.Text("currency", "USD")
	f.Pairs("metadata", map[string]string{"b": "2", "a": "1"})
	sum := f.Sum()
	// Written down once. If this fails, a retry of every charge ever made would be
	// refused: raise FingerprintVersion and keep computing the old one.
	const want = "fdf08d6e15a87217420dae22edc119d31f43f92a987067d2838855871cdb4d3d"
	if got := hex.EncodeToString(sum.Sum[:]); got != want || sum.Version != 1 {
		t.Errorf("version %d, %s; want version 1, %s", sum.Version, got, want)
	}
}

func TestADefaultSpelledOutChangesNoFingerprint(t *testing.T) {
	plain := idempotency.NewFingerprinter("charge")
	plain.Int("amount", 5)
	spelled := idempotency.NewFingerprinter("charge")
	spelled.Int("amount", 5)
	spelled.Int("other", 0)
	spelled.Text("description", "")
	spelled.Pairs("metadata", map[string]string{})
	if plain.Sum() != spelled.Sum() {
		t.Error("a default that is spelled out changes the fingerprint")
	}
}

// field is one thing that a request may say.
type field struct {
	name, value string
}

func TestRequestsThatDifferHaveDifferentFingerprints(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01:")), 0, 3, -1)
	fields := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) field {
		return field{text.Draw(t, "name"),
			rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01:")), 1, 3, -1).Draw(t, "value")}
	}), 0, 3)
	sum := func(operation string, fields []field) idempotency.Fingerprint {
		f := idempotency.NewFingerprinter(operation)
		for _, field := range fields {
			f.Text(field.name, field.value)
		}
		return f.Sum()
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := fields.Draw(t, "a"), fields.Draw(t, "b")
		same := len(a) == len(b)
		for i := range a {
			same = same && a[i] == b[i]
		}
		if (sum("charge", a) == sum("charge", b)) != same {
			t.Errorf("%q and %q", a, b)
		}
		if sum("charge", a) == sum("refund", a) {
			t.Errorf("the operation makes no difference for %q", a)
		}
	})
}

func TestMetadataOrderChangesNoFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "pairs")
		one, two := idempotency.NewFingerprinter("charge"), idempotency.NewFingerprinter("charge")
		one.Pairs("metadata", pairs)
		two.Pairs("metadata", maps.Clone(pairs))
		if one.Sum() != two.Sum() {
			t.Errorf("%v", pairs)
		}
	})
}
