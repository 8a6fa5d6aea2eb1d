package simulator

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// The books have a bucket for each kind of row. Keys are ids, which sort by creation.
const (
	bucketIntents  = "intents"
	bucketCharges  = "charges"
	bucketTakings  = "takings"
	bucketRefunds  = "refunds"
	bucketDisputes = "disputes"
	bucketEvents   = "events"
	bucketOutbox   = "outbox" // the ids of events that are not delivered yet
	bucketKeys     = "keys"   // stored answers, by idempotency key
	bucketFaults   = "faults" // faults of payment methods that have happened
)

var buckets = []string{
	bucketIntents, bucketCharges, bucketTakings, bucketRefunds, bucketDisputes, bucketEvents,
	bucketOutbox, bucketKeys, bucketFaults,
}

// intent is the row of a payment intent.
type intent struct {
	ID            string
	Amount        int64
	Currency      string
	CaptureMethod string
	Status        string
	PaymentMethod string // "" after a decline
	MethodTypes   []string
	Redirects     bool // automatic payment methods that may redirect
	Description   string
	Metadata      map[string]string
	Created       int64
	LatestCharge  string
	Capturable    int64
	Received      int64
	CanceledAt    int64
	CancelReason  string
	LastError     *wireError
}

// charge is one try to charge a card. A failed one is kept too, as Stripe does.
type charge struct {
	ID             string
	Intent         string
	Amount         int64
	AmountCaptured int64
	AmountRefunded int64 // of what was captured, without failed refunds
	AmountReleased int64 // of a hold, and never captured
	Currency       string
	Card           string
	Created        int64
	Captured       bool
	Disputed       bool
	FailureCode    string
	DeclineCode    string
	FailureMessage string
}

// taking is one execution that took money: a confirmation, or the capture of a hold.
type taking struct {
	ID      string
	Intent  string
	Charge  string
	Amount  int64
	Created int64
}

type refund struct {
	ID            string
	Intent        string
	Charge        string
	Amount        int64
	Currency      string
	Reason        string
	Status        string
	FailureReason string
	Metadata      map[string]string
	Created       int64
	Released      bool   // the money was held and never taken
	NextStatus    string // after the processing time; "": the status is final
}

type dispute struct {
	ID       string
	Intent   string
	Charge   string
	Amount   int64
	Currency string
	Reason   string
	Status   string
	Created  int64
}

// books are the durable rows.
type books struct {
	db         *bbolt.DB
	apiVersion string
}

// batchDelay is how long a transaction waits for others to share it.
const batchDelay = time.Millisecond

func openBooks(file, apiVersion string) (*books, error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening the books %s: %w", file, err)
	}
	db.MaxBatchDelay = batchDelay
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the books: %w", err), db.Close())
	}
	return &books{db: db, apiVersion: apiVersion}, nil
}

// entry is a transaction of the books. Its events are sent after the commit.
type entry struct {
	tx     *bbolt.Tx
	now    time.Time
	events []string
	later  []string // intents and refunds that leave their interim status later

	apiVersion string // of the events
}

// update runs do in a transaction. Requests of the same moment share one, because each
// commit waits for the disk. If one of them fails, the others run again without it, so do
// may be called more than once: only its last call counts.
func (b *books) update(do func(*entry) error) (committed entry, err error) {
	err = b.db.Batch(func(tx *bbolt.Tx) error {
		committed = entry{tx: tx, now: time.Now(), apiVersion: b.apiVersion}
		return do(&committed)
	})
	committed.tx = nil
	return committed, err
}

func (b *books) view(do func(*entry) error) error {
	return b.db.View(func(tx *bbolt.Tx) error { return do(&entry{tx: tx, now: time.Now()}) })
}

var errMissing = errors.New("no such row")

// get reads a row. Its error is errMissing if there is none.
func get[T any](e *entry, bucket, id string) (row T, err error) {
	raw := e.tx.Bucket([]byte(bucket)).Get([]byte(id))
	if raw == nil {
		return row, errMissing
	}
	return row, json.Unmarshal(raw, &row)
}

func put(e *entry, bucket, id string, row any) error {
	raw, err := json.Marshal(row)
	if err != nil {
		return err
	}
	return e.tx.Bucket([]byte(bucket)).Put([]byte(id), raw)
}

// each calls use with every row, oldest first.
func each[T any](e *entry, bucket string, use func(T) error) error {
	return e.tx.Bucket([]byte(bucket)).ForEach(func(_, raw []byte) error {
		var row T
		if err := json.Unmarshal(raw, &row); err != nil {
			return err
		}
		return use(row)
	})
}

// newID makes an id that sorts after the earlier ones of its bucket. Its random part keeps
// it apart from the ids of other books.
func newID(e *entry, prefix, bucket string) (string, error) {
	number, err := e.tx.Bucket([]byte(bucket)).NextSequence()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s_%010d%s", prefix, number, rand.Text()[:14]), nil
}
