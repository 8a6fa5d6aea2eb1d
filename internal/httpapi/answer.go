package httpapi

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/problem"
)

const jsonType = "application/json"

// writeReply answers a keyed request. An answer that was made for an earlier request is
// marked as a replay.
func writeReply(w http.ResponseWriter, r *http.Request, reply payments.Reply) {
	req := requestOf(r)
	header := w.Header()
	if reply.Location != "" {
		header.Set("Location", reply.Location)
	}
	req.reply, req.paymentID = &reply, reply.PaymentID
	if req.replayed() {
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

// codeOf reads the code of a stored problem.
func codeOf(body []byte) string {
	var p struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return ""
	}
	return p.Code
}

// writeBody answers with a body and its length, so that a client notices a truncated
// body.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error means that the caller has gone. It will ask again.
	_, _ = w.Write(body) //nolint:gosec // JSON or plain text, marked nosniff
}

func writeText(w http.ResponseWriter, status int, text string) {
	writeBody(w, status, "text/plain; charset=utf-8", []byte(text))
}
