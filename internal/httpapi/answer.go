package httpapi

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/problem"
)

const jsonType = "application/json"

// writeReply answers a keyed request. An answer that was made for another request is a
// replay, and says so.
func writeReply(w http.ResponseWriter, r *http.Request, reply payments.Reply) {
	req := requestOf(r)
	header := w.Header()
	if reply.Location != "" {
		header.Set("Location", reply.Location)
	}
	if reply.RequestID != req.id {
		req.replayed = true
		header.Set("Idempotent-Replayed", "true")
		header.Set("Original-Request-Id", payments.FormatRequestID(reply.RequestID))
	}
	contentType := jsonType
	if reply.Status >= http.StatusBadRequest {
		contentType = problem.ContentType
		req.code = codeOf(reply.Body)
	}
	writeBody(w, reply.Status, contentType, reply.Body)
}

// codeOf reads the code of a problem that was stored.
func codeOf(body []byte) string {
	var p struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return ""
	}
	return p.Code
}

// writeBody answers with a body whose length is announced, so that one cut short is
// seen to be.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON or plain text, marked nosniff; a caller that has gone will ask again
}

// writeNoContent answers that it is done, and that there is nothing to say. (204 has no
// length: RFC 9110, section 8.6.)
func writeNoContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func writeText(w http.ResponseWriter, status int, text string) {
	writeBody(w, status, "text/plain; charset=utf-8", []byte(text))
}
