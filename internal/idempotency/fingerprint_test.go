package idempotency_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

type field struct {
	name, value string
}

func TestRequestsThatDifferHaveDifferentFingerprints(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01:")), 0, 3, -1)
	fields := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) field {
		return field{
			text.Draw(t, "name"),
			rapid.StringOfN(rapid.SampledFrom([]rune("ab\x00\x01:")), 1, 3, -1).Draw(t, "value"),
		}
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
