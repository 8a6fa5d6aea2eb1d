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

// Reply is about an answer, beside what it says.
type Reply struct {
	// Replayed tells that an earlier request under the key was executed, and that this
	// is its answer. The earlier one may be an attempt of this very call, whose answer
	// was lost; then Attempts is more than 1.
	Replayed          bool   `json:"-"`
	RequestID         string `json:"-"` // the service's name for the request that it answered
	OriginalRequestID string `json:"-"` // the request that was executed, if it was an earlier one
	Attempts          int    `json:"-"` // requests that this call has sent
	Body              []byte `json:"-"` // the answer as it came
}

func replyOf(header http.Header, body []byte) Reply {
	return Reply{
		Replayed:          header.Get("Idempotent-Replayed") == "true",
		RequestID:         header.Get("Request-Id"),
		OriginalRequestID: header.Get("Original-Request-Id"),
		Body:              body,
	}
}

// judge tells what a whole answer means.
func judge(response *http.Response, body []byte, into any) outcome {
	if response.StatusCode/100 != 2 {
		return judgeNo(response, body)
	}
	if err := read(response, body, into); err != nil {
		// Whoever said that, it was not the service as this client knows it.
		return outcome{err: fmt.Errorf("the answer, status %d, cannot be read: %w",
			response.StatusCode, err), effect: maybe}
	}
	return outcome{reply: replyOf(response.Header, body), effect: known}
}

// answered is what is read from an answer with content. A text that is JSON but of
// something else has none of its marks.
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

// judgeNo tells what an answer means that is not a success.
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
			e.Status == http.StatusServiceUnavailable || e.Code == codeInProgress
	}
	return o
}

// The codes that mean something to the client itself.
const (
	codeInProgress  = "idempotency_key_in_progress"
	codeRateLimited = "rate_limited"
	codeOverloaded  = "overloaded"
	codeUnavailable = "unavailable"
	codeDuplicate   = "duplicate_reference"
)

// effectOf tells what a problem says about the effect of the request. What is not known
// for sure is maybe.
func effectOf(e *Error) effect {
	switch {
	case e.Code == "":
		return maybe // not the service's word: somebody between may have passed the request on
	case e.Code == codeDuplicate:
		// the key is free: once the other payment is canceled, an earlier attempt could
		// still charge
		return none
	case e.Retry == RetryNewKey || e.Retry == RetryNever:
		return known
	case e.Code == codeRateLimited, e.Code == codeOverloaded, e.Code == codeUnavailable:
		return none // turned away before anything was done
	case e.Code == codeInProgress:
		return maybe
	case e.Status >= 400 && e.Status < 500:
		return none
	}
	return maybe
}

// errorOf reads a problem document. What is none, such as a gateway's page, becomes an
// Error without a code.
func errorOf(response *http.Response, body []byte) *Error {
	e := &Error{}
	if mediaTypeOf(response.Header) != problemType || json.Unmarshal(body, e) != nil ||
		e.Status != response.StatusCode {
		e = &Error{Status: response.StatusCode, Title: http.StatusText(response.StatusCode),
			RequestID: response.Header.Get("Request-Id")}
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
