package stripe_test

import (
	"regexp"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/processor/stripe"
)

// TestProcessorKeyNeverChanges has literal keys. Another formula would make the processor
// take a retry for a new request, and charge again. These values are never edited.
func TestProcessorKeyNeverChanges(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		step       string
		generation int
		want       string
	}{
		{"prepare", 1, "8026820c711eca07799685f02dfede6a77065bb873104e226287fc4451195425"},
		{"confirm", 1, "c591e93fb9e9dfdc5e46af40d0144bad311c5085319469e1d5525d38a4ee78e2"},
		{"confirm", 2, "dccf46e1d1524558480b9ab33ae0a974fe79fa0c0d97407374e4c9712e5156f6"},
		{"capture", 1, "28e675ffbbffd946ed50fb5a883df831ceb11d4bdbba5f184cb120744afa4c4f"},
		{"cancel", 1, "e8421afb5bcb25c1ed86577b319c6e4d581f4650dab093c06e0529522b235699"},
		{"refund", 1, "2f2552db722e7dbc560b7b7d82ad9f08f1cc0a034225b19ed7ddbd0abc371196"},
	} {
		got := stripe.ProcessorKey(owner, row.step, row.generation)
		if got != "paymentsvc-"+row.want {
			t.Errorf("%s %d: got  %s\nwant paymentsvc-%s", row.step, row.generation, got, row.want)
		}
	}
}

func TestProcessorKeysDiffer(t *testing.T) {
	t.Parallel()
	other := uuid.MustParse("0190b0a0-0000-7000-8000-000000000009")
	printable := regexp.MustCompile(`^[!-~]{1,255}$`)
	seen := map[string]bool{}
	for _, o := range []stripe.Owner{
		owner,
		{Installation: other, MerchantID: owner.MerchantID, AttemptID: owner.AttemptID},
		{Installation: owner.Installation, MerchantID: 8, AttemptID: owner.AttemptID},
		{Installation: owner.Installation, MerchantID: owner.MerchantID, AttemptID: other},
	} {
		for _, step := range []string{"prepare", "confirm", "capture", "cancel", "refund"} {
			for _, generation := range []int{0, 1, 2, 11} {
				key := stripe.ProcessorKey(o, step, generation)
				if seen[key] || !printable.MatchString(key) {
					t.Errorf("%q comes twice, or cannot be sent", key)
				}
				seen[key] = true
			}
		}
	}
}
