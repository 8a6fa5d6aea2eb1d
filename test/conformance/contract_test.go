package conformance

import (
	"fmt"
	"strings"
	"testing"
)

// row is one promise of the contract. A promise that not every service can keep, or
// show, as a whole is several rows.
type row struct {
	id      string // as in the contract, with a letter for a part
	promise string
	holds   func(*caller)
	needs   need
}

// need is what a row needs beside an address and a merchant.
type need string

const (
	nothing        need = ""
	secondMerchant need = "-other-api-key, the API key of another merchant"
	locks          need = "a database of the suite's own, whose locks it holds"
	processes      need = "processes that the suite has started itself"
)

// contract is the idempotency contract.
var contract = []row{
	{"1", "a request without a key is refused", noKey, nothing},
	{"2", "an unreadable key is refused", unreadableKey, nothing},
	{"3", "a bare key and its quoted form are one key, case matters", spelledKey, nothing},
	{"4", "the first request is executed, Location has its payment", firstRequest, nothing},
	{"5a", "a later retry gets the same answer, byte for byte", sameRequestLater, nothing},
	{"5b", "many equal requests at once are executed once", sameRequestAtOnce, nothing},
	{"5c", "a duplicate waits for the first and replays it", duplicateWaits, locks},
	{"5d", "the largest answer is replayed whole", largestAnswer, nothing},
	{"5e", "many equal captures, cancels or refunds are executed once", sameChangeAtOnce, nothing},
	{"5f", "thousands of equal requests are executed once", sameRequestThousandsAtOnce, locks},
	{"7a", "a key belongs to its first request", otherRequest, nothing},
	{"7b", "of two requests at once under one key, one is executed", otherRequestAtOnce, nothing},
	{"7c", "a key belongs to its operation and its path's payment", otherOperation, nothing},
	{"7d", "every optional member tells a request from another", otherOptions, nothing},
	{"7e", "of two changes at once under one key, one is executed", otherChangeAtOnce, nothing},
	{"8a", "the spelling of a request does not matter", rewrittenRequest, nothing},
	{"8b", "a default may be left out or written", rewrittenDefaults, nothing},
	{"9a", "a refused request leaves its key free", refusedRequest, nothing},
	{"9b", "so does one without a credential, or to a wrong path", strayRequest, nothing},
	{"9c", "a refused request succeeds when the cause is gone", curedRequest, nothing},
	{"9d", "a request to a closed account leaves its key free", closedAccount, nothing},
	{"9e", "a refusal takes no key from a request at the same moment", refusedAtOnce, nothing},
	{"9f", "a key freed by a refusal goes to the waiting request", refusedBeforeAnother, locks},
	{"9g", "a key on a request that takes none stays free", keyNotTaken, nothing},
	{"9h", "a request that is cut short is not executed", cutShort, nothing},
	{"10a", "a decline is replayed, also when there is money by then", declinedRequest, nothing},
	{"10b", "money is spent once, however many try at once", spentAtOnce, nothing},
	{"10c", "many equal requests at once are declined once", declinedAtOnce, nothing},
	{"10d", "a declined refund is stored and replayed", declinedRefund, nothing},
	{"11", "the same key of another merchant is another key", otherMerchant, secondMerchant},
	{"12", "two keys are two payments, however equal the requests", twoKeys, nothing},
	{"13a", "a reference is paid once, whatever the key", sameReferenceLater, nothing},
	{"13b", "a reference that many claim at once is paid once", sameReferenceAtOnce, nothing},
	{"13c", "a declined payment gives its reference back", freedReference, nothing},
	{"13d", "of many claims of a reference, a solvent one wins", referenceForPayer, nothing},
	{"15a", "after capture and refund, a retry gets the first answer", replayAfterRefund, nothing},
	{"15b", "so it does after a cancellation", replayAfterCancel, nothing},
	{"15c", "so it does after an edit of the payment", replayAfterEdit, nothing},
	{"16a", "every answer echoes the key as it was received", echoedKey, nothing},
	{"16b", "every Request-Id is new, a replay names the original's", requestIDs, nothing},
	{"17a", "the retry of a client that hung up makes one payment", clientGone, nothing},
	{"17b", "a lost answer is given again", answerLost, nothing},
	{"17c", "a charge with a claimed key needs no client", clientGoneAfterClaim, locks},
	{"17d", "a request that arrives after its retry replays it", requestLate, nothing},
	{"18", "a key has one answer after a kill, no lock stays behind", instanceKilled, processes},
}

// elsewhere are the rows that cannot be shown by a client alone, and the tests of this
// repository that show them.
var elsewhere = []struct {
	id, why string
	tests   []string // none: what the row is about is not in this release
}{
	{"6", "needs a card processor that answers late", []string{
		"internal/httpapi TestCardChargeInProgressIsAnsweredLater",
		"internal/httpapi TestPreferenceShortensTheWait",
		"test/messages TestCardChargeByMessageIsAnsweredLater",
	}},
	{"10", "needs a card processor that declines", []string{
		"internal/httpapi TestDeclineOfACardIsStored",
	}},
	{"14", "needs the retention of an answer to pass", []string{
		"internal/httpapi TestKeyOutlivesItsAnswer",
		"internal/idempotency TestRetryRacingTheReaperChargesNothing",
	}},
	{"18", "needs Postgres to die, and connections to it at every statement", []string{
		"internal/payments TestStatementFaultsLeaveOneOperation",
		"test/torture TestNoAckedChargeIsLostOrDoubledWhenPostgresIsKilled",
		"test/torture TestNoAckedChargeIsLostOrDoubledWhenPostgresAndTheServiceAreKilled",
	}},
	{"19", "needs a COMMIT whose acknowledgement is lost", []string{
		"internal/payments TestCommitFaultsLeaveOneOperation",
		"internal/payments TestUnknownOutcomeIsFoundOutByRetry",
	}},
}

func TestContract(t *testing.T) {
	for _, s := range subjects(t) {
		t.Run(s.name, s.test)
	}
}

// test shows every row that can be shown of the subject: with retries to the same
// instance, and to another one.
func (s *subject) test(t *testing.T) {
	t.Parallel()
	if s.start != nil {
		s.service = s.start(t)
	}
	left := s.leftOut(t)
	t.Cleanup(func() { t.Log(report(left)) })
	for _, r := range contract {
		if left[r.id] != "" {
			continue
		}
		t.Run("row "+r.id, func(t *testing.T) {
			t.Parallel()
			switch r.needs {
			case locks:
				r.holds(newCaller(t, s.start(t)))
				return
			case processes:
				r.holds(newCaller(t, s.startProcesses(t)))
				return
			case nothing, secondMerchant:
			}
			t.Run("on one instance", func(t *testing.T) {
				t.Parallel()
				r.holds(newCaller(t, s.service.alone()))
			})
			if s.service.other != s.service.first {
				t.Run("across two", func(t *testing.T) {
					t.Parallel()
					r.holds(newCaller(t, s.service))
				})
			}
		})
	}
}

// leftOut tells why rows are not shown of the subject. To ask for one by name that
// cannot be shown is an error.
func (s *subject) leftOut(t *testing.T) map[string]string {
	t.Helper()
	left := map[string]string{}
	for _, r := range contract {
		lacking := s.start == nil && (r.needs == locks || r.needs == processes) ||
			r.needs == secondMerchant && s.service.otherAPIKey == ""
		switch {
		case lacking && s.asked[r.id]:
			t.Fatalf("row %s cannot be run: it needs %s", r.id, r.needs)
		case !s.has.include(r.id):
			left[r.id] = "is not a part of " + s.name
		case !s.asked.include(r.id):
			left[r.id] = "was not asked for"
		case lacking:
			left[r.id] = "needs " + string(r.needs)
		}
	}
	return left
}

// number is the contract's number of a row: that of 5a is 5.
func number(id string) string { return strings.TrimRight(id, "abcdefgh") }

// report says what became of each row of the contract.
func report(left map[string]string) string {
	var lines strings.Builder
	for _, r := range contract {
		if left[r.id] == "" {
			fmt.Fprintf(&lines, "\nrow %-4s run: %s", r.id, r.promise)
		} else {
			fmt.Fprintf(&lines, "\nrow %-4s NOT RUN: %s", r.id, left[r.id])
		}
	}
	for _, r := range elsewhere {
		where := "not in this release"
		if len(r.tests) > 0 {
			where = "see " + strings.Join(r.tests, ", ")
		}
		fmt.Fprintf(&lines, "\nrow %-4s not here: it %s; %s", r.id, r.why, where)
	}
	return lines.String()
}
