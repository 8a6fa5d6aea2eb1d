package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"
)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// Reply holds the facts about an answer beside its content.
type Reply struct {
	// Replayed tells that this is the answer of an earlier request under the key. That
	// request may be an attempt of the same call, whose answer was lost. Then Attempts is
	// more than 1.
	Replayed          bool   `json:"-"`
	RequestID         string `json:"-"` // the service's id of the request
	OriginalRequestID string `json:"-"` // of a replay: the id of the executed request
	Attempts          int    `json:"-"` // number of requests that this call has sent
	Body              []byte `json:"-"` // the bytes of the answer
}

func replyOf(header http.Header, body []byte) Reply {
	return Reply{
		Replayed:          header.Get("Idempotent-Replayed") == "true",
		RequestID:         header.Get("Request-Id"),
		OriginalRequestID: header.Get("Original-Request-Id"),
		Body:              body,
	}
}

// judge derives an attempt's outcome from a complete answer.
func judge(response *http.Response, body []byte, into any) outcome {
	if response.StatusCode/100 != 2 {
		return judgeNo(response, body)
	}
	if err := read(response, body, into); err != nil {
		// The answer is probably not the service's.
		err = fmt.Errorf("the answer, status %d, cannot be read: %w", response.StatusCode, err)
		return outcome{err: err, effect: maybe}
	}
	return outcome{reply: replyOf(response.Header, body), effect: known}
}

// answered is the content of an answer. complete is false for JSON of another kind, which
// lacks the required members.
type answered interface{ complete() bool }

func read(response *http.Response, body []byte, into any) error {
	if into == nil {
		if response.StatusCode != http.StatusNoContent {
			return errors.New("it should have no content")
		}
		return nil
	}
	if kind := mediaTypeOf(response.Header); kind != jsonType {
		return fmt.Errorf("its type is %q", kind)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return err
	}
	if thing, ok := into.(answered); ok && !thing.complete() {
		return errors.New("it is about something else")
	}
	return nil
}

// judgeNo derives an attempt's outcome from an answer that is not a success.
func judgeNo(response *http.Response, body []byte) outcome {
	e := errorOf(response, body)
	o := outcome{err: e, effect: effectOf(e), retryAfter: e.RetryAfter}
	switch {
	case e.Code == "":
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable,
			http.StatusGatewayTimeout:
			o.retry = true
		}
	case e.Retry == RetrySameKey:
		o.retry = e.Status == http.StatusTooManyRequests ||
			e.Status >= http.StatusInternalServerError || e.Code == codeInProgress
	}
	return o
}

// The codes that the client itself handles.
const (
	codeInProgress  = "idempotency_key_in_progress"
	codeRateLimited = "rate_limited"
	codeOverloaded  = "overloaded"
	codeUnavailable = "unavailable"
	codeDuplicate   = "duplicate_reference"
)

// effectOf derives the effect of the request from a problem. If in doubt it is maybe.
func effectOf(e *Error) effect {
	switch {
	case e.Code == "":
		return maybe // not from the service: a gateway may have forwarded the request
	case e.Code == codeDuplicate:
		// The key is free. After a cancellation of the other payment, an earlier attempt
		// could still charge.
		return none
	case e.Retry == RetryNewKey || e.Retry == RetryNever:
		return known
	case e.Code == codeRateLimited, e.Code == codeOverloaded, e.Code == codeUnavailable:
		return none // refused before it was executed
	case e.Code == codeInProgress:
		return maybe
	case e.Status >= 400 && e.Status < 500:
		return none
	}
	return maybe
}

// errorOf reads a problem document. Any other answer, such as a gateway's page, becomes
// an Error without a code.
func errorOf(response *http.Response, body []byte) *Error {
	e := &Error{}
	if mediaTypeOf(response.Header) != problemType || json.Unmarshal(body, e) != nil ||
		e.Status != response.StatusCode {
		e = &Error{
			Status: response.StatusCode, Title: http.StatusText(response.StatusCode),
			RequestID: response.Header.Get("Request-Id"),
		}
	}
	e.Replayed = response.Header.Get("Idempotent-Replayed") == "true"
	e.RetryAfter = retryAfterOf(response.Header, time.Now())
	return e
}

func mediaTypeOf(header http.Header) string {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mediaType
}
