package client

import (
	"crypto/rand"
	"errors"
	"strings"
)

// Key is an idempotency key: the name of one intent to do something, whatever becomes
// of the attempts. It is 1 to 255 printable ASCII characters, and belongs to one
// merchant and one request for ever.
type Key string

// ErrInvalidKey means that a key cannot be sent, and that nothing was.
var ErrInvalidKey = errors.New("an idempotency key is 1 to 255 printable ASCII characters")

// keyLengthMax is the contract's.
const keyLengthMax = 255

// NewKey is a random key, unlike any other (128 bits at least). Store it before it is
// used. A key that follows from what is being paid for, such as "order-1017/charge", is
// as good, and harder to lose.
func NewKey() Key { return Key(rand.Text()) }

func (k Key) check() error {
	if k == "" || len(k) > keyLengthMax || strings.ContainsFunc(string(k), notPrintableASCII) {
		return ErrInvalidKey
	}
	return nil
}

func notPrintableASCII(r rune) bool { return r < 0x20 || r > 0x7e }

// header writes the key as the draft has it
// (draft-ietf-httpapi-idempotency-key-header-07, section 2.1): a string of RFC 9651, in
// quotes. So a key may begin with a quote or end with a space. The service reads the
// bare form as the same key.
func (k Key) header() string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(k)) + `"`
}
