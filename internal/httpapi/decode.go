package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// bodySizeMax is the largest request body, in bytes.
const bodySizeMax = 64 << 10

// decode reads the request's JSON body into value. It refuses unknown members,
// duplicates, members in another case, invalid UTF-8, and text after the value. Its
// errors are for the API's caller.
func decode(w http.ResponseWriter, r *http.Request, value any) error {
	return decodeAs(w, r, value, jsonType)
}

// decodeOptional is decode for an optional body. The type of an absent body does not
// matter.
func decodeOptional(w http.ResponseWriter, r *http.Request, value any) error {
	body := bufio.NewReader(r.Body) // a chunked body has no Content-Length and may be empty
	if _, err := body.Peek(1); errors.Is(err, io.EOF) {
		return nil
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
	return decode(w, r, value)
}

// decodeAs is decode for a body of one of the media types.
func decodeAs(w http.ResponseWriter, r *http.Request, value any, types ...string) error {
	if r.Header.Get("Content-Encoding") != "" {
		return errMediaType
	}
	// Two headers name no type: a proxy might believe the other one.
	contentType := strings.Join(r.Header["Content-Type"], ", ")
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || !slices.Contains(types, mediaType) {
		return errMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodySizeMax))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return errBodyTooLarge
		}
		return unreadBody(err)
	}
	if err := json.Unmarshal(body, value, json.RejectUnknownMembers(true)); err != nil {
		return explain(err, body)
	}
	if jsontext.Value(body).Kind() == 'n' { // Unmarshal accepts null as an empty object
		return &invalidRequest{detail: "the body must be a JSON object"}
	}
	return nil
}

// unreadBody translates an error of reading a body.
func unreadBody(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &invalidRequest{detail: "the body did not arrive in time"}
	}
	return &invalidRequest{detail: "the body ended early"}
}

// explain translates a decoding error of a body for the API's caller.
func explain(err error, body []byte) error {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	var invalid *invalidRequest
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntactic):
		return &invalidRequest{"the member occurs twice", string(syntactic.JSONPointer)}
	case errors.As(err, &syntactic):
		detail := fmt.Sprintf("the body is not valid JSON at byte %d: %s", syntactic.ByteOffset,
			reasonOf(syntactic, body))
		return &invalidRequest{detail, string(syntactic.JSONPointer)}
	case errors.As(err, &semantic):
		pointer := string(semantic.JSONPointer)
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return &invalidRequest{detail: "there is no such member", pointer: pointer}
		case errors.As(err, &invalid):
			return &invalidRequest{detail: invalid.detail, pointer: pointer}
		}
		return &invalidRequest{detail: "the value has the wrong type", pointer: pointer}
	}
	return &invalidRequest{detail: "the body cannot be read"}
}

// reasonOf names the mistake at an offset of a body.
func reasonOf(err *jsontext.SyntacticError, body []byte) string {
	reason, _, _ := strings.Cut(err.Err.Error(), " (")
	switch {
	case len(body) == 0:
		return "it is empty"
	case strings.HasPrefix(string(body), "\ufeff"):
		return "a byte-order mark; send UTF-8 without one"
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")),
		body[0] == 0, len(body) > 1 && body[1] == 0:
		return "it is UTF-16 or UTF-32; send UTF-8"
	case strings.Contains(reason, "surrogate"):
		return "a lone surrogate, which is half of a character"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends early"
	}
	return reason
}

// integer is a JSON number that is written as an integer: 1.0, 1e3 and "5" are not. A
// number that does not fit 64 bits becomes the nearest that does. Every allowed range
// excludes that number, so a later check refuses it.
type integer int64

func (n *integer) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if value.Kind() != '0' || strings.ContainsAny(string(value), ".eE") {
		return &invalidRequest{detail: "must be a JSON integer"}
	}
	// The only possible error is that the number is out of range.
	nearest, _ := strconv.ParseInt(string(value), 10, 64)
	*n = integer(nearest)
	return nil
}

// value returns the integer, nil if it is absent.
func (n *integer) value() *int64 { return (*int64)(n) }

// text is a JSON string without U+0000, which Postgres cannot store.
type text string

func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		return errors.Join(dec.SkipValue(), &invalidRequest{detail: "must be a string"})
	}
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	*t = text(token.String())
	if strings.ContainsRune(string(*t), 0) {
		return &invalidRequest{detail: "must not contain U+0000"}
	}
	return nil
}

// value returns the text, "" if it is absent.
func (t *text) value() string {
	if t == nil {
		return ""
	}
	return string(*t)
}

var errMetadataName = &invalidRequest{"names must not contain U+0000", "/metadata"}

// texts converts the pairs of a metadata object.
func texts(pairs map[string]text) (map[string]string, error) {
	plain := make(map[string]string, len(pairs))
	for key, value := range pairs {
		if strings.ContainsRune(key, 0) {
			return nil, errMetadataName
		}
		plain[key] = string(value)
	}
	return plain, nil
}

// required refuses an absent or null member.
func required[T any](value *T, pointer string) error {
	if value == nil {
		return &invalidRequest{detail: "the member is required", pointer: pointer}
	}
	return nil
}
