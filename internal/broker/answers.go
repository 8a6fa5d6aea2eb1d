package broker

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// statusHeader is the header of an answer with the HTTP status. NATS uses "Status"
// itself.
const statusHeader = "Http-Status"

// Headers of a parked message: the code of its problem, and what it was, in base64, so
// that it can be looked at and sent again.
const (
	reasonHeader = "Parked-Reason"
	bodyHeader   = "Parked-Body"
	// headersMax is a little less than JetStream's limit for all headers of a message.
	headersMax = 63 << 10
)

// answerHeaders go from the API's answer to its message.
var answerHeaders = []string{
	keyHeader, "Idempotent-Replayed", "Request-Id", "Original-Request-Id", "Location",
	"Content-Type",
}

// newAnswer is the message that answers a request: the API's answer, byte for byte.
func newAnswer(
	request jetstream.Msg, merchant string, result Result, status int, header http.Header,
	body []byte,
) *nats.Msg {
	subject := outcomeSubject
	if result == Parked {
		subject = parkedSubject
	}
	answer := nats.NewMsg(subject + merchant)
	answer.Data = body
	for _, name := range answerHeaders {
		if value := header.Get(name); value != "" {
			answer.Header.Set(name, value)
		}
	}
	answer.Header.Set(statusHeader, strconv.Itoa(status))
	answer.Header.Set(nats.MsgIdHdr, answerID(request, status, body))
	if result == Parked {
		answer.Header.Set(reasonHeader, codeOf(body))
		answer.Header.Set(bodyHeader, base64.StdEncoding.EncodeToString(request.Data()))
	}
	return answer
}

// shorten leaves out what makes a parked message too long. The broker would refuse the
// message, and its request would come again for ever.
func shorten(message *nats.Msg, maxPayload int) {
	for _, name := range []string{bodyHeader, keyHeader} {
		size := message.Size() // with the subject, which the broker does not count
		if size > maxPayload || size-len(message.Data) > headersMax {
			message.Header.Del(name)
		}
	}
}

// answerID is the same for the same answer to the same message, so that the broker
// keeps only one of them if the message comes again. If the first delivery was refused
// and the second one charges, the answers differ and both are kept.
func answerID(request jetstream.Msg, status int, body []byte) string {
	hash := sha256.New()
	if about, err := request.Metadata(); err == nil {
		fmt.Fprintln(hash, about.Stream, about.Sequence.Stream, about.Timestamp.UnixNano())
	}
	fmt.Fprintln(hash, status)
	_, _ = hash.Write(body)
	return hex.EncodeToString(hash.Sum(nil))
}

// codeOf reads the code of a problem.
func codeOf(body []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &problem) != nil {
		return ""
	}
	return problem.Code
}
