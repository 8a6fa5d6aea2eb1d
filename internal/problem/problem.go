// Package problem is the table of the API's problems (RFC 9457), and their document. A
// problem's code decides its status, its title, its advice about the key, and its page.
//
// Package httpapi writes such documents for errors. Package payments writes them for
// declines, and stores them in the transaction of the payment.
package problem

import "github.com/go-json-experiment/json"

// ContentType of a Document.
const ContentType = "application/problem+json"

// Document is an RFC 9457 problem document.
type Document struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      string  `json:"code"`
	Retry     Retry   `json:"retry"`
	RequestID string  `json:"request_id"`
	PaymentID string  `json:"payment_id,omitzero"`
	Errors    []Field `json:"errors,omitzero"`
}

// Field says what is wrong with one member of the request.
type Field struct {
	Pointer string `json:"pointer"` // RFC 6901
	Detail  string `json:"detail"`
}

// New is the document of a code in Kinds, with a detail for people.
func New(code, detail string) *Document {
	kind, known := Kinds[code]
	if !known {
		panic("no problem has the code " + code)
	}
	return &Document{
		Type: "/docs/errors/" + code, Title: kind.Title, Status: kind.Status,
		Detail: detail, Code: code, Retry: kind.Retry,
	}
}

// JSON writes the document.
func (d *Document) JSON() []byte {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts and numbers only
	}
	return text
}
