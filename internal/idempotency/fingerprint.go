package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"strconv"
)

// FingerprintVersion is the version of the encoding that this build writes. Raise it
// when the encoding of any operation changes, and keep computing the older ones: keys
// are kept for ever.
const FingerprintVersion int16 = 1

// Fingerprint tells whether two requests under one key are the same request: equal
// versions and equal sums. It does not see how a request was written: member order,
// white space, escapes and a default spelled out make no difference.
type Fingerprint struct {
	Version int16
	Sum     [sha256.Size]byte
}

// Fingerprinter computes a Fingerprint of an operation's name and the fields of its
// decoded request.
//
// Each field is written as its name and its value, each behind its length, so no two
// requests share an encoding. A field that has its default is left out. So a field that
// is added in a later release changes no fingerprint of a request that does not use it.
type Fingerprinter struct {
	hash    hash.Hash
	scratch []byte
}

// NewFingerprinter starts the fingerprint of one request for the named operation.
func NewFingerprinter(operation string) *Fingerprinter {
	f := &Fingerprinter{hash: sha256.New(), scratch: make([]byte, 0, 256)}
	f.Text("operation", operation)
	return f
}

// Text adds a field unless its value is empty.
func (f *Fingerprinter) Text(name, value string) {
	if value == "" {
		return
	}
	f.scratch = appendField(f.scratch[:0], name, value)
	f.hash.Write(f.scratch)
}

// Int adds a field unless its value is 0.
func (f *Fingerprinter) Int(name string, value int64) {
	if value != 0 {
		f.Text(name, strconv.FormatInt(value, 10))
	}
}

// Pairs adds a field for each pair, in the order of their keys.
func (f *Fingerprinter) Pairs(name string, pairs map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		f.scratch = appendField(f.scratch[:0], name, string(appendField(nil, key, pairs[key])))
		f.hash.Write(f.scratch)
	}
}

// Sum finishes the fingerprint.
func (f *Fingerprinter) Sum() Fingerprint {
	fingerprint := Fingerprint{Version: FingerprintVersion}
	f.hash.Sum(fingerprint.Sum[:0])
	return fingerprint
}

func appendField(b []byte, name, value string) []byte {
	b = binary.AppendUvarint(b, uint64(len(name)))
	b = append(b, name...)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}
