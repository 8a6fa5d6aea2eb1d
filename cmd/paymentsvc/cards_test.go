package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
	"github.com/paymentsvc/paymentsvc/internal/cards"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/journal"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// shop is a merchant that charges cards: an instance, its database and the processor.
type shop struct {
	*testing.T
	db        *pgtest.DB
	processor *simulator.Server
	in        *inprocess.Instance
	merchant  *journal.Merchant
	orders    int
}

// callTimeout is that of a call to the processor here. A test that lets one hang waits for
// it.
const callTimeout = time.Second

func newShop(t *testing.T) *shop {
	t.Helper()
	t.Parallel()
	s := &shop{T: t, db: pgtest.New(t)}
	var err error
	s.processor, err = simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.processor.Close(); err != nil {
			t.Error(err)
		}
	})
	s.in = s.instance(s.db)
	s.merchant = journal.NewMerchant(t, s.in, s.db.URL)
	return s
}

// instance is one more, on a database.
func (s *shop) instance(db *pgtest.DB) *inprocess.Instance {
	s.Helper()
	return inprocess.Start(s.T, db.URL, func(c *app.Config) {
		c.RequestTimeout = 2 * callTimeout // of which two thirds wait for the processor
		c.Processor = cards.Settings{
			SecretKey: simulator.DefaultSecret, URL: s.processor.URL(),
			WebhookSecrets: []string{simulator.DefaultWebhookSecret},
			Timeout:        callTimeout, ResendWindow: 12 * time.Hour,
		}
	})
}

// run runs a command on the shop's database and processor.
func (s *shop) run(args ...string) (code int, out, complaints string) {
	s.Helper()
	return command(s.T, s.db, s.flags(args...)...)
}

// flags adds those that name the processor.
func (s *shop) flags(args ...string) []string {
	return append(args, "--stripe-secret-key", simulator.DefaultSecret,
		"--stripe-url", s.processor.URL(), "--processor-timeout", callTimeout.String(),
		"--allow-data-loss")
}

// recover works on open attempts until all are settled.
func (s *shop) recover() {
	s.Helper()
	await.Until(s, time.Minute, "all attempts are settled", func() (settled bool) {
		if err := s.in.Cards.Recover(s.Context()); err != nil {
			s.Fatal(err)
		}
		if err := s.db.Pool.QueryRow(s.Context(), `
			SELECT NOT EXISTS (SELECT FROM processor_attempts WHERE state <> 'settled')`).
			Scan(&settled); err != nil {
			s.Fatal(err)
		}
		return settled
	})
}

// send sends a keyed request, under a new key, and wants this status.
func (s *shop) send(status int, path, body string) journal.Answer {
	s.Helper()
	s.orders++
	return s.sendAs(fmt.Sprint("order ", s.orders), status, path, body)
}

func (s *shop) sendAs(key string, status int, path, body string) journal.Answer {
	s.Helper()
	answer := s.merchant.Do(s.Context(), http.MethodPost, s.in.URL()+path, key, []byte(body))
	if answer.Status != status {
		s.Fatalf("%s %s: %v", path, body, answer)
	}
	return answer
}

// charge charges a card, and returns the path of the payment.
func (s *shop) charge(minor int, members string) (path string) {
	s.Helper()
	return s.send(http.StatusCreated, "/payments",
		chargeBody(minor, members)).Header.Get("Location")
}

func chargeBody(minor int, members string) string {
	return fmt.Sprintf(`{"amount":%d,"currency":%q,"payment_method":"pm_card_visa",`+
		`"destination_account":%q%s}`, minor, journal.Currency, journal.Shops[0], members)
}

const hold = `,"capture":false`

// at presses a button in the processor's dashboard, for the intent of a payment.
func (s *shop) at(page, intentID string, minor int) {
	s.Helper()
	entered, err := json.Marshal(map[string]any{"payment_intent": intentID, "amount": minor})
	if err != nil {
		s.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.Context(), http.MethodPost,
		s.processor.URL()+"/dashboard/"+page, bytes.NewReader(entered))
	if err != nil {
		s.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		s.Fatalf("%s of %s: %s", page, intentID, answer.Status)
	}
}

// intent is the newest of the processor's.
func (s *shop) intent() simulator.BookIntent {
	s.Helper()
	books, err := s.processor.Books()
	if err != nil {
		s.Fatal(err)
	}
	return books.Intents[len(books.Intents)-1]
}

// restore is the shop with a backup of its database from before its first payment.
func (s *shop) restore() *shop {
	s.Helper()
	restored := &shop{T: s.T, db: pgtest.New(s.T), processor: s.processor, merchant: s.merchant}
	var name string
	var installation, keyID, hash []byte
	if err := s.db.Pool.QueryRow(s.Context(), `
		SELECT m.name, i.id::text::bytea, k.id::text::bytea, k.secret_sha256
		FROM merchants m JOIN api_keys k ON k.merchant_id = m.id, processor_installation i
		WHERE m.id = $1`, s.merchant.ID).Scan(&name, &installation, &keyID, &hash); err != nil {
		s.Fatal(err)
	}
	restored.exec(`INSERT INTO merchants (id, name) VALUES ($1, $2)`, s.merchant.ID, name)
	restored.exec(`INSERT INTO api_keys (merchant_id, id, secret_sha256, read_only)
		VALUES ($1, $2::text::uuid, $3, false)`, s.merchant.ID, string(keyID), hash)
	restored.exec(`UPDATE processor_installation SET id = $1::text::uuid`, string(installation))
	restored.in = restored.instance(restored.db)
	restored.merchant.OpenAccounts(s.T, restored.in.URL())
	return restored
}

func (s *shop) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.db.Pool.Exec(s.Context(), sql, args...); err != nil {
		s.Fatal(err)
	}
}

// reconcile runs the command, and returns the first word of each row.
func (s *shop) reconcile(args ...string) (kinds []string, out string) {
	s.Helper()
	code, out, complaints := s.run(append([]string{"reconcile"}, args...)...)
	for line := range strings.SplitSeq(out, "\n") {
		if head, _, row := strings.Cut(line, ", merchant "); row {
			kinds = append(kinds, head)
		}
	}
	found := strings.Contains(out, "differences, from ")
	if complaints != "" || code != 0 && code != 1 || (code == 1) != found {
		s.Fatalf("exit code %d\n%s\n%s", code, out, complaints)
	}
	return kinds, out
}
