package cards

import (
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/service"
)

// A refund is asked for again under its key. If the processor forgot the key meanwhile,
// it would refund twice.
func TestServeRefusesAResendWindowThatOutlastsTheProcessorsKeys(t *testing.T) {
	t.Parallel()
	settings := []string{
		"DATABASE_URL=postgres://127.0.0.1:1/none", "STRIPE_SECRET_KEY=sk_test_1",
		"COMMIT_WORKERS=0", // so that it ends in any case, and says every problem
		"PROCESSOR_TIMEOUT=10s", "PROCESSOR_KEY_WINDOW=12h",
	}
	const complaint = `PROCESSOR_RESEND_WINDOW: "12h" does not fit into PROCESSOR_KEY_WINDOW: ` +
		`the processor could forget a key and refund twice`
	for window, complains := range map[string]bool{
		"12h": true, "11h59m33s": true, "11h59m32s": false, // two leases of 14 s have to fit
	} {
		child := service.Launch(t, append(settings, "PROCESSOR_RESEND_WINDOW="+window), "serve")
		if code := child.ExitCode(); code != 1 {
			t.Errorf("%s: the exit code is %d, want 1", window, code)
		}
		want := strings.Replace(complaint, "12h", window, 1)
		if said := child.Stderr.String(); strings.Contains(said, want) != complains {
			t.Errorf("%s: it says %q, want %q in it: %t", window, said, want, complains)
		}
	}
}
