package idempotency

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// Claim is a request's wish to be the one that its key stands for.
type Claim struct {
	Key
	Operation   string // "charge"
	Fingerprint Fingerprint
	RequestID   uuid.UUID // names the request; its answer is stored under it
	PaymentID   uuid.UUID // that the request makes or changes
}

// Answer is what a caller was told, in the bytes that were sent.
type Answer struct {
	Status   int    // 2xx, or 402 for a decline: an answer that will not change
	Location string // the Location header, "" for none
	Body     []byte
}

// Record is what a taken key stands for: the claim that took it, and its answer.
type Record struct {
	Claim
	Answer     *Answer // nil: not there yet (see Pending), or deleted after its retention
	AnsweredAt time.Time
	Pending    bool // the request is still at a card processor
}

// Reasons for which a record does not answer a request.
var (
	ErrKeyReused          = errors.New("the key belongs to another request")
	ErrInProgress         = errors.New("the key's request is still being worked on")
	ErrKeyExpired         = errors.New("the key was used, and its answer is no longer kept")
	ErrFingerprintVersion = errors.New(
		"the key was taken by a release with another encoding of requests",
	)
)

// AnswerTo returns the stored answer for a request under the record's key. clock is the
// database's. The answer expires when it is retention old, whether or not the
// reaper has deleted it yet.
func (r *Record) AnswerTo(
	request Fingerprint, clock time.Time, retention time.Duration,
) (*Answer, error) {
	switch {
	case r.Fingerprint.Version != request.Version:
		return nil, ErrFingerprintVersion
	case r.Fingerprint.Sum != request.Sum:
		return nil, ErrKeyReused
	case r.Pending:
		return nil, ErrInProgress
	case r.Answer == nil || !clock.Before(r.AnsweredAt.Add(retention)):
		return nil, ErrKeyExpired
	default:
		return r.Answer, nil
	}
}
