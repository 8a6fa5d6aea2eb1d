package httpserver

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"sync"
)

// ErrAmbiguous means that a request could be read in two ways: RFC 9112, sections 2.2, 5.2, 6.1 and 11.2.
var ErrAmbiguous = errors.New("a request has one Content-Length or one Transfer-Encoding, and lines that end in CR LF and are not folded")

// head is the beginning of a request as it came over the wire. net/http does not show it, and with it what it lets through:
// it takes lines that end in LF alone and lines that are folded, believes two lengths that are equal, and drops
// Content-Length where there is Transfer-Encoding.
//
// It is kept for the one request that a connection carries at a time. The head of a request that was sent before the one
// before it was answered (pipelined) has come too early to be kept, and that of an encrypted one cannot be read here. Then it is
// not known whether there were two lengths, and the connection is closed after the answer instead, so that whatever could
// have been hidden behind the request is never read as another one (RFC 9112, section 6.1, asks for as much).
type head struct {
	mu   sync.Mutex // net/http may read ahead while a handler runs
	text []byte     // guarded by mu
	full bool       // what comes now is no part of it; guarded by mu
}

const tlsHandshake = 0x16 // the first byte of an encrypted connection: RFC 8446, section 5.1

// record keeps what has been read until the end of the head is there.
func (h *head) record(read []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full || len(read) == 0 {
		return
	}
	h.text = append(h.text, read...)
	h.full = h.text[0] == tlsHandshake || headEnd(h.text) > 0 || len(h.text) > headerSizeMax+4<<10
}

// forget makes room for the next request's head.
func (h *head) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.text) > 0 && h.text[0] != tlsHandshake {
		h.text, h.full = h.text[:0], false
	}
}

// judge tells whether the head is this request's, and returns ErrAmbiguous if it says two things.
func (h *head) judge(r *http.Request) (seen bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := h.text[:headEnd(h.text)]
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	if !isRequestLine(bytes.TrimSuffix(first, []byte("\r")), r) {
		return false, nil
	}
	bareLF := bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n"))
	folded := bytes.Contains(text, []byte("\n ")) || bytes.Contains(text, []byte("\n\t"))
	contentLengths, encodings := count(rest, "Content-Length"), count(rest, "Transfer-Encoding")
	misread := encodings != len(r.TransferEncoding) // HTTP/1.0 has none, so net/http overlooks them there
	if bareLF || folded || misread || contentLengths+encodings > 1 {
		return true, ErrAmbiguous
	}
	return true, nil
}

// headEnd is where a head ends: behind its first empty line. It is 0 if there is none.
func headEnd(text []byte) int {
	end := 0
	for _, emptyLine := range [][]byte{[]byte("\n\r\n"), []byte("\n\n")} {
		if i := bytes.Index(text, emptyLine); i >= 0 && (end == 0 || i+len(emptyLine) < end) {
			end = i + len(emptyLine)
		}
	}
	return end
}

// isRequestLine tells whether the line is the request's first. Its first byte may be missing: net/http reads one byte ahead while a
// request is being answered, to notice when the client has gone.
func isRequestLine(line []byte, r *http.Request) bool {
	whole := r.Method + " " + r.RequestURI + " " + r.Proto
	return string(line) == whole || string(line) == whole[1:]
}

func isChunked(r *http.Request) bool { return len(r.TransferEncoding) > 0 }

// count tells how many of the fields have the name.
func count(fields []byte, name string) (n int) {
	for field := range bytes.Lines(fields) {
		if len(field) > len(name) && field[len(name)] == ':' && strings.EqualFold(string(field[:len(name)]), name) {
			n++
		}
	}
	return n
}
