package simulator

import (
	"fmt"
	"net/http"
)

// wireError is the object in Stripe's error documents, and the last error of an intent.
type wireError struct {
	Charge        string             `json:"charge,omitempty"`
	Code          string             `json:"code,omitempty"`
	DeclineCode   string             `json:"decline_code,omitempty"`
	Message       string             `json:"message"`
	Param         string             `json:"param,omitempty"`
	PaymentIntent *wireIntent        `json:"payment_intent,omitempty"`
	PaymentMethod *wirePaymentMethod `json:"payment_method,omitempty"`
	Type          string             `json:"type"`
}

type wirePaymentMethod struct {
	ID     string   `json:"id"`
	Object string   `json:"object"`
	Card   wireCard `json:"card"`
	Type   string   `json:"type"`
}

// The types of errors.
const (
	typeAPI         = "api_error"
	typeCard        = "card_error"
	typeIdempotency = "idempotency_error"
	typeRequest     = "invalid_request_error"
)

// refusal is an answer that is an error.
type refusal struct {
	status int
	body   wireError

	// executed tells that the request's execution had begun: the transaction commits, and
	// the answer is stored under the key. Stripe stores no answer to a request that
	// failed the validation of its parameters.
	executed bool
}

func (r *refusal) Error() string { return r.body.Message }

// invalid refuses a parameter, before anything is executed.
func invalid(param, code, format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, body: wireError{
		Type: typeRequest, Param: param, Code: code, Message: fmt.Sprintf(format, args...),
	}}
}

// missing is the answer to an unknown id in a path.
func missing(param, object, id string) *refusal {
	r := invalid(param, "resource_missing", "No such %s: '%s'", object, id)
	r.status = http.StatusNotFound
	return r
}

// conflicting refuses an operation that the intent's status does not allow.
func conflicting(e *entry, i intent, operation string) error {
	w, err := i.wire(e)
	if err != nil {
		return err
	}
	return &refusal{status: http.StatusBadRequest, executed: true, body: wireError{
		Type: typeRequest, Code: "payment_intent_unexpected_state", PaymentIntent: &w,
		Message: fmt.Sprintf("You cannot %s this PaymentIntent because it has a status of %s.",
			operation, i.Status),
	}}
}

// broken is Stripe's answer when it has failed itself.
func broken(status int) *refusal {
	return &refusal{status: status, executed: true, body: wireError{
		Type: typeAPI, Message: "An unknown error occurred",
	}}
}

var (
	errKeyInUse = &refusal{status: http.StatusConflict, body: wireError{
		Type: typeIdempotency, Code: "idempotency_key_in_use",
		Message: "There is currently another in-progress request using this Stripe-Idempotency" +
			" key (that probably means you submitted twice, and the other request is still " +
			"going through). Please try again later.",
	}}
	errOtherParameters = &refusal{status: http.StatusBadRequest, body: wireError{
		Type: typeIdempotency,
		Message: "Keys for idempotent requests can only be used with the same endpoint and " +
			"parameters they were first used with. Try using a different key.",
	}}
	errTooMany = &refusal{status: http.StatusTooManyRequests, body: wireError{
		Type: typeRequest, Code: "rate_limit",
		Message: "Request rate limit exceeded. Please try again later.",
	}}
	errUnauthorized = &refusal{status: http.StatusUnauthorized, body: wireError{
		Type: typeRequest, Message: "Invalid API Key provided.",
	}}
	errUnknownURL = &refusal{status: http.StatusNotFound, body: wireError{
		Type: typeRequest, Message: "Unrecognized request URL.",
	}}
)
