package idempotency_test

import (
	"errors"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/idempotency"
)

func TestRecordAnswersItsOwnRequestUntilTheRetentionEnds(t *testing.T) {
	const retention = time.Hour
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	own := idempotency.Fingerprint{Version: 1, Sum: [32]byte{1}}
	other := idempotency.Fingerprint{Version: 1, Sum: [32]byte{2}}
	newer := idempotency.Fingerprint{Version: 2, Sum: [32]byte{1}}
	answer := &idempotency.Answer{Status: 201, Body: []byte("{}")}

	for _, test := range []struct {
		name    string
		request idempotency.Fingerprint
		answer  *idempotency.Answer
		now     time.Time
		err     error
	}{
		{"the same request gets the answer", own, answer, at.Add(time.Minute), nil},
		{"at the very moment, too", own, answer, at, nil},
		{
			"until just before the retention ends", own, answer,
			at.Add(retention - time.Microsecond), nil,
		},
		{
			"and not from that moment on, reaped or not", own, answer, at.Add(retention),
			idempotency.ErrKeyExpired,
		},
		{"nor once it is reaped", own, nil, at.Add(time.Minute), idempotency.ErrKeyExpired},
		{
			"another request is refused", other, answer, at.Add(time.Minute),
			idempotency.ErrKeyReused,
		},
		{
			"also after the retention", other, answer, at.Add(2 * retention),
			idempotency.ErrKeyReused,
		},
		{"also once it is reaped", other, nil, at.Add(2 * retention), idempotency.ErrKeyReused},
		{
			"an unknown encoding is not called another request", newer, answer,
			at.Add(time.Minute), idempotency.ErrFingerprintVersion,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			record := idempotency.Record{
				Claim:  idempotency.Claim{Fingerprint: own},
				Answer: test.answer, AnsweredAt: at,
			}
			got, err := record.AnswerTo(test.request, test.now, retention)
			if !errors.Is(err, test.err) || (err == nil) != (got == answer) {
				t.Errorf("AnswerTo = %v, %v; want error %v", got, err, test.err)
			}
		})
	}
}
