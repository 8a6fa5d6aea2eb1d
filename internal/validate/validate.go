// Package validate collects what is wrong with a request that could be read. Its rules
// are about the request alone, whatever the books say: lengths, ranges, and card
// numbers in free text.
package validate

import (
	"fmt"
	"unicode/utf8"
)

// Limits of metadata, in pairs and in characters.
const (
	metadataPairsMax       = 50
	metadataKeyLengthMax   = 40
	metadataValueLengthMax = 500
)

// Error says that a request is well-formed and breaks rules. Nothing was done.
type Error struct {
	Fields []FieldError // at least one
}

// FieldError says what is wrong with one member of a request.
type FieldError struct {
	Pointer string // JSON pointer (RFC 6901), for example "/amount"
	Detail  string
}

func (e *Error) Error() string {
	first := e.Fields[0]
	return first.Pointer[1:] + " " + first.Detail
}

// Fields collects the complaints about one request.
type Fields []FieldError

// Err is all complaints together; nil if there is none.
func (f *Fields) Err() error {
	if len(*f) == 0 {
		return nil
	}
	return &Error{Fields: *f}
}

// Require complains about the member at pointer unless ok.
func (f *Fields) Require(ok bool, pointer, must string) {
	if !ok {
		*f = append(*f, FieldError{Pointer: pointer, Detail: must})
	}
}

// RequireText complains about free text that has more than lengthMax characters, or a
// card number.
func (f *Fields) RequireText(pointer, text string, lengthMax int) {
	f.Require(utf8.RuneCountInString(text) <= lengthMax, pointer,
		fmt.Sprintf("must have at most %d characters", lengthMax))
	f.RequireNoCardNumber(pointer, text)
}

// RequireMetadata complains about too many pairs, and about each pair that is too long.
func (f *Fields) RequireMetadata(metadata map[string]string) {
	f.Require(len(metadata) <= metadataPairsMax, "/metadata", "must have at most 50 members")
	for key, value := range metadata {
		n := utf8.RuneCountInString(key)
		f.Require(n > 0 && n <= metadataKeyLengthMax, "/metadata",
			"must have names of 1 to 40 characters")
		f.Require(utf8.RuneCountInString(value) <= metadataValueLengthMax, "/metadata",
			"must have values of at most 500 characters")
		f.RequireNoCardNumber("/metadata", key)
		f.RequireNoCardNumber("/metadata", value)
	}
}

// RequireNoCardNumber complains about a card number in free text. Keys, references and
// account ids are exempt: they are often numbers.
func (f *Fields) RequireNoCardNumber(pointer, text string) {
	f.Require(!HasCardNumber(text), pointer,
		"must not contain a card number: the service neither takes nor keeps them")
}
