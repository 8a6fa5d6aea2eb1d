package client

import (
	"crypto/rand"
	"errors"
	"strings"
)

// Key is an idempotency key: the name of one intent, for all its attempts. It has 1 to
// 255 printable ASCII characters. It belongs to one merchant and one request for ever.
type Key string

// ErrInvalidKey means that a key cannot be sent. Nothing was sent.
var ErrInvalidKey = errors.New("an idempotency key is 1 to 255 printable ASCII characters")

const keyLengthMax = 255

// NewKey makes a random key of at least 128 bits. Store it before you use it. A key that
// follows from the purchase, such as "order-1017/charge", is as good and harder to lose.
func NewKey() Key { return Key(rand.Text()) }

func (k Key) check() error {
	if k == "" || len(k) > keyLengthMax || strings.ContainsFunc(string(k), notPrintableASCII) {
		return ErrInvalidKey
	}
	return nil
}

func notPrintableASCII(r rune) bool { return r < 0x20 || r > 0x7e }

// header writes the key as a quoted string of RFC 9651
// (draft-ietf-httpapi-idempotency-key-header-07, section 2.1). So a key may begin with a
// quote or end with a space. Without quotes it is the same key to the service.
func (k Key) header() string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(k)) + `"`
}
