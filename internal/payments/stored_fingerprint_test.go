package payments

import (
	"context"
	"encoding/hex"
	"testing"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// storedPayment is the payment of every stored request that changes one.
var storedPayment = uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")

type sendFunc func(*Service, Caller) (Reply, error)

func storedCharge(edit func(*Charge)) sendFunc {
	c := Charge{Amount: usd(4999), SourceAccount: "alice", DestinationAccount: "shop"}
	edit(&c)
	return func(s *Service, caller Caller) (Reply, error) {
		return s.Charge(context.Background(), caller, c)
	}
}

func capturing(amount *int64) sendFunc {
	return func(s *Service, caller Caller) (Reply, error) {
		capture := Capture{PaymentID: storedPayment, Amount: amount}
		return s.Capture(context.Background(), caller, capture)
	}
}

func canceling(s *Service, caller Caller) (Reply, error) {
	return s.Cancel(context.Background(), caller, storedPayment)
}

func refunding(amount *int64, reason string) sendFunc {
	return func(s *Service, caller Caller) (Reply, error) {
		refund := RefundRequest{PaymentID: storedPayment, Amount: amount, Reason: reason}
		return s.Refund(context.Background(), caller, refund)
	}
}

// storedRequests has a request for each operation and each of its fields. The sums were
// computed from the encoding by hand. If one fails, raise FingerprintVersion and keep
// computing the old encoding.
var storedRequests = []struct {
	name      string
	operation string
	sum       string
	send      sendFunc
}{
	{
		"a charge", "charge", "8fc06bd72d7e58c918dcd18bda04061da2fac6050c01b15b28c699b062982e3d",
		storedCharge(func(*Charge) {}),
	},
	{
		"an authorization", "charge",
		"62309b39455b9d3270f0c72ce03d734090b952ab5e6ffa31475fd71dbb84b9af",
		storedCharge(func(c *Charge) { c.AuthorizeOnly = true }),
	},
	{
		"a charge of a payment method", "charge",
		"65cc66bbee8a1b572c60345043c07f707b0af25fc76b7da4947255f052373315",
		storedCharge(func(c *Charge) { c.SourceAccount, c.PaymentMethod = "", "tok_visa" }),
	},
	{
		"a charge with a reference", "charge",
		"e35b1dc2aa57ca82ff36a3501d31dc0b6196c369dbca4ae087424fac34adcfb1",
		storedCharge(func(c *Charge) { c.Reference = "order-1017" }),
	},
	{
		"a charge with a description", "charge",
		"237e4a710b2c0d8122be5faab2008b92df89a4e5892d770ffb47550dd7d47630",
		storedCharge(func(c *Charge) { c.Description = "Größe M" }),
	},
	{
		"a charge with metadata", "charge",
		"5dc893c830e81d7f4d46dc203ae6f2e543bd81d632d0eba45f692807f94f5d1b",
		storedCharge(func(c *Charge) {
			c.Metadata = map[string]string{"size": "M", "colour": "red", "empty": ""}
		}),
	},
	{
		"an authorization with every field", "charge",
		"23cc772d9428bbd1eb6a717a26ab860ed8ada81b88b1dd0466a2962626d1ae48",
		storedCharge(func(c *Charge) {
			c.Reference, c.Description, c.AuthorizeOnly = "order-1017", "Größe M", true
			c.Metadata = map[string]string{"size": "M", "colour": "red", "empty": ""}
		}),
	},
	{
		"an authorization of a payment method with every field", "charge",
		"62ed297fddf0272b8f44aaf584172dedca2150419e223ad2d5e618689a0669b2",
		storedCharge(func(c *Charge) {
			c.SourceAccount, c.PaymentMethod = "", "tok_visa"
			c.Reference, c.Description, c.AuthorizeOnly = "order-1017", "Größe M", true
			c.Metadata = map[string]string{"size": "M", "colour": "red", "empty": ""}
		}),
	},
	{
		"a capture", "capture", "42b9114d921f368aa6cadd8f7a13fe9f23cacb742f92ed6f999ebf26f8d40245",
		capturing(nil),
	},
	{
		"a capture of an amount", "capture",
		"f470acf3c0a84ebcf8bd6ca900e4350f6d1b606edb2c6c6be2e9ffc99c2f4c4f",
		capturing(new(int64(5))),
	},
	{
		"a capture of nothing", "capture", // is refused today, and is not a capture of everything
		"b8ce4261e0878ca863b950a8cf9926c82877b4cfdd85ff0ceae26e2ca6f65b5a",
		capturing(new(int64(0))),
	},
	{
		"a cancel", "cancel", "9c63e3777fdd94574433378e956102ce8c65e35ab9f9ae3dd44c107621167ca1",
		canceling,
	},
	{
		"a refund", "refund", "7c8e7b5f73c4ab60ec9b51c49b60f2060ade90a7afc5f6f2e63401d8ed238be3",
		refunding(nil, ""),
	},
	{
		"a refund of an amount", "refund",
		"68a63ddda14bb8a2f6bdd08623ac3951cacf6ad9d00a150adb6256b5c14491f4",
		refunding(new(int64(5)), ""),
	},
	{
		"a refund of nothing", "refund",
		"c12e62712b12ba40b47f0207ffccfe78a32d81c9a8bd02b55ff54772f2fdeaff",
		refunding(new(int64(0)), ""),
	},
	{
		"a refund with a reason", "refund",
		"d7374e627a32d952e58312249b5031f8eddfc441b19312249550c07c581a95d1",
		refunding(nil, "one was broken"),
	},
	{
		"a refund of an amount with a reason", "refund",
		"8c567b32574c4112d6f885de35cb332867118c952bbb2be3fa9dfdad0ffe071e",
		refunding(new(int64(5)), "one was broken"),
	},
}

// A stored request is recognised by every later release: after a deploy its retry gets
// the stored answer. Otherwise the retry would be refused with idempotency_key_reused.
func TestStoredRequestIsRecognisedByEveryLaterRelease(t *testing.T) {
	t.Parallel()
	db := pgtest.NewBroken(t) // the stored requests have no payment
	s := newService(t, db.URL)
	merchantID := newMerchant(t, s, nil)
	for _, stored := range storedRequests {
		t.Run(stored.name, func(t *testing.T) {
			t.Parallel()
			first := callerWith(merchantID, stored.name)
			storeRequest(t, db, first, stored.operation, stored.sum)
			reply, err := stored.send(s, callerWith(merchantID, stored.name))
			if err != nil || reply.RequestID != first.RequestID || string(reply.Body) != "stored" {
				t.Errorf("a retry of what an earlier release stored came to %q, %v; "+
					"want the stored answer", reply.Body, err)
			}
		})
	}
}

// storeRequest writes a request and its answer as version 1 of the encoding has them.
func storeRequest(t *testing.T, db *pgtest.DB, caller Caller, operation, sum string) {
	t.Helper()
	fingerprint, err := hex.DecodeString(sum)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pool.Exec(t.Context(), `
		WITH claimed AS (
			INSERT INTO idempotency_keys
				(merchant_id, scope, key, operation, fingerprint, fingerprint_version,
				request_id, payment_id)
			VALUES ($1, $2, $3, $4, $5, 1, $6, $7))
		INSERT INTO idempotency_answers
			(merchant_id, request_id, status, location, body, created_at)
		VALUES ($1, $6, 200, '', 'stored', clock_timestamp())`,
		caller.Key.MerchantID, caller.Key.Scope, caller.Key.Value, operation, fingerprint,
		caller.RequestID, storedPayment); err != nil {
		t.Fatal(err)
	}
}

// The service's own operation has no retry that could be answered.
func TestStoredFingerprintOfAnExpiryStaysTheSame(t *testing.T) {
	t.Parallel()
	const sum = "ee0dbaafb36537d48d10bb44e767ace3d3f27c56f1e6208ac93d2a75a99e7d82"
	claim := newExpire(paymentRef{1, storedPayment}).claim
	key := idempotency.Key{
		MerchantID: 1, Scope: idempotency.ScopeService,
		Value: "expire:pay_01890a5dac96774bbcceb302099a8057",
	}
	if claim.Key != key || claim.Operation != "expire" || claim.Fingerprint.Version != 1 ||
		hex.EncodeToString(claim.Fingerprint.Sum[:]) != sum {
		t.Errorf("claims %+v", claim)
	}
}

// The processor recognises a retry by the attempt's id, also after a backup was restored.
func TestAttemptOfAKeyStaysTheSame(t *testing.T) {
	t.Parallel()
	for value, want := range map[idempotency.Key]string{
		{MerchantID: 1, Scope: "client", Value: "order-1017"}: storedAttempt,
		{
			MerchantID: 1, Scope: "service",
			Value: "expire:pay_01890a5dac96774bbcceb302099a8057",
		}: "bf3f3cc9-00f5-8740-9c80-df39bc0c13e5",
	} {
		if got := attemptID(value).String(); got != want {
			t.Errorf("the attempt of %v is %s, want %s", value, got, want)
		}
	}
}

const storedAttempt = "bee10d42-d115-881e-8259-1590ed319e65"

// The processor may send an event again after a deploy.
func TestStoredFingerprintOfASettlementStaysTheSame(t *testing.T) {
	t.Parallel()
	const sum = "2e4f554831813fa2f0940ad446bdd3b2ceacf3d344bfdd60cbbc3530ce876cd7"
	settlement := Settlement{
		MerchantID: 1, AttemptID: uuid.MustParse(storedAttempt), PaymentID: storedPayment,
		Token: 3, Status: StatusSucceeded,
	}
	event := settlement
	event.Token, event.EventID, event.Status = 0, "evt_1", StatusDeclined
	for key, claim := range map[idempotency.Key]idempotency.Claim{
		{MerchantID: 1, Scope: "service", Value: "settle:" + storedAttempt + ":3"}: newSettle(
			settlement).claim,
		{MerchantID: 1, Scope: "processor:stripe", Value: "evt_1"}: newSettle(event).claim,
	} {
		if claim.Key != key || claim.Operation != "settle" || claim.Fingerprint.Version != 1 ||
			hex.EncodeToString(claim.Fingerprint.Sum[:]) != sum {
			t.Errorf("claims %+v, want key %v", claim, key)
		}
	}
}
