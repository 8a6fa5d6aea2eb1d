package idempotency

import (
	"errors"
	"strings"
)

// Scope separates key spaces, so that nothing a caller chooses can collide with a key
// of the service's own.
type Scope string

const (
	// ScopeClient is the key space of callers. A key sent by HTTP and the same key in a
	// message are one key.
	ScopeClient Scope = "client"
	// ScopeService is the key space of the service's own operations, such as ending an
	// authorization.
	ScopeService Scope = "service"
	// ScopeStripe is the key space of that processor's events: their ids are the keys.
	ScopeStripe Scope = "processor:stripe"
)

// KeyLengthMax is the longest key in bytes, as Stripe has it; the draft leaves the
// limit to the service.
const KeyLengthMax = 255

// Key is one key of one merchant. Equal strings of two merchants are two keys.
type Key struct {
	MerchantID int64
	Scope      Scope
	Value      string
}

// Reasons for which a key cannot be read.
var (
	ErrKeyMissing = errors.New("the Idempotency-Key header is missing")
	ErrKeyInvalid = errors.New(
		"the Idempotency-Key header is not a string of 1 to 255 printable ASCII characters",
	)
	ErrKeyHasComma = errors.New(
		`the Idempotency-Key has a comma; quote the key, as in "a,b", if that is one key ` +
			"and not two headers that a proxy has joined",
	)
)

// ParseKey reads the values of the Idempotency-Key header field. The draft makes it a
// string item of RFC 9651: `"abc"`, with \" and \\ as the only escapes. Many clients
// send the bare abc: it is accepted, and names the same key. Spaces around the value
// are dropped. Case matters.
//
// A bare key has no comma. A proxy may join a header that is there twice: "k, k" would
// be a second key for the request of k, and would charge again.
func ParseKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", ErrKeyMissing
	case 1:
	default:
		return "", ErrKeyInvalid
	}
	text := strings.Trim(values[0], " \t")
	if strings.HasPrefix(text, `"`) {
		var ok bool
		if text, ok = unquote(text); !ok {
			return "", ErrKeyInvalid
		}
	} else if strings.Contains(text, ",") {
		return "", ErrKeyHasComma
	}
	if text == "" || len(text) > KeyLengthMax || strings.ContainsFunc(text, notPrintableASCII) {
		return "", ErrKeyInvalid
	}
	return text, nil
}

// unquote reads a whole RFC 9651 string (section 3.3.3): nothing may follow its closing
// quote.
func unquote(text string) (string, bool) {
	var value strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			return value.String(), i == len(text)-1
		case '\\':
			i++
			if i == len(text) || text[i] != '"' && text[i] != '\\' {
				return "", false
			}
			value.WriteByte(text[i])
		default:
			value.WriteByte(c)
		}
	}
	return "", false
}

func notPrintableASCII(r rune) bool { return r < 0x20 || r > 0x7e }
