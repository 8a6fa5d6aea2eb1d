package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"sync"
	"time"
)

// stored is the first answer under an idempotency key.
type stored struct {
	Key         string
	Fingerprint string
	Status      int
	Body        json.RawMessage
	RequestID   string
	Created     time.Time
}

// keySizeMax is the longest key, as documented.
const keySizeMax = 255

// running are the keys whose first request is being executed.
type running struct {
	mu   sync.Mutex
	keys map[string]bool
}

// start reserves a key for a request. It returns false if another request has it.
func (r *running) start(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[key] {
		return false
	}
	r.keys[key] = true
	return true
}

func (r *running) release(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.keys, key)
}

// fingerprint tells requests apart that use one key.
func fingerprint(method, path string, p params) string {
	sum := sha256.Sum256([]byte(method + " " + path + "?" + url.Values(p).Encode()))
	return hex.EncodeToString(sum[:])
}

// claim reserves the key of a request until c.release, and finds the answer of the first
// request with it.
func (s *Server) claim(c *call) (first *stored, err error) {
	if c.key == "" {
		return nil, nil
	}
	if !s.running.start(c.key) {
		return nil, errKeyInUse
	}
	c.release = sync.OnceFunc(func() { s.running.release(c.key) })
	return s.replay(c)
}

// replay finds the stored answer of a request. It is nil if the key is new or forgotten.
func (s *Server) replay(c *call) (found *stored, err error) {
	err = s.books.view(func(e *entry) error {
		first, err := get[stored](e, bucketKeys, c.key)
		switch {
		case errors.Is(err, errMissing):
			return nil
		case err != nil:
			return err
		case e.now.Sub(first.Created) >= s.options.KeyWindow:
			return nil
		case first.Fingerprint != c.fingerprint:
			return errOtherParameters
		}
		found = &first
		return nil
	})
	return found, err
}

// store keeps the answer of a request, in the transaction of its effect.
func store(e *entry, c *call, a answer) error {
	if c.key == "" {
		return nil
	}
	return put(e, bucketKeys, c.key, stored{
		Key: c.key, Fingerprint: c.fingerprint, Status: a.status, Body: a.body,
		RequestID: c.requestID, Created: e.now,
	})
}

// sweepKeys deletes the keys that are older than the window.
func sweepKeys(e *entry, window time.Duration) error {
	var old []string
	err := each(e, bucketKeys, func(s stored) error {
		if e.now.Sub(s.Created) >= window {
			old = append(old, s.Key)
		}
		return nil
	})
	for _, key := range old {
		err = errors.Join(err, e.tx.Bucket([]byte(bucketKeys)).Delete([]byte(key)))
	}
	return err
}
