package stripe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// ProcessorKey is the processor's idempotency key for a step of an attempt. It depends
// on nothing else. So after a restored backup, the same request sends the same key.
// Steps are "prepare", "confirm", "capture", "cancel" and "refund".
//
// The formula never changes: a key from a new formula would make the processor take a
// retry for a new request.
func ProcessorKey(owner Owner, step string, generation int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s\n%s\n%d",
		owner.Installation, owner.MerchantID, owner.AttemptID, step, generation))
	return "paymentsvc-" + hex.EncodeToString(sum[:])
}
