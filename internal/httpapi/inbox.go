package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// processorEventSizeMax is the largest event of a processor, in bytes. An event holds a
// whole object of the processor with up to 50 pairs of metadata. A pair has up to 540
// characters, and JSON may write each in six bytes: 162,000 bytes. The limit is not much
// higher, because the signature covers the whole body and is checked after it is read.
const processorEventSizeMax = 256 << 10

// processorEventsAtOnce limits the memory that bodies take before their signatures are
// checked. Further events wait.
const processorEventsAtOnce = 128

// postProcessorEvent takes an event of the card processor. Its signature, over the bytes
// as they came, is its credential.
func (a *api) postProcessorEvent(w http.ResponseWriter, r *http.Request) error {
	if a.Cards == nil || pathParameter(r, "processor") != "stripe" {
		return errNotFound
	}
	if err := a.processorEvents.Acquire(r.Context(), 1); err != nil {
		return payments.ErrOverloaded
	}
	defer a.processorEvents.Release(1)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, processorEventSizeMax))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return errEventTooLarge
		}
		return unreadBody(err)
	}
	signature := ""
	if values := r.Header["Stripe-Signature"]; len(values) == 1 {
		signature = values[0]
	}
	if err := a.Cards.Receive(r.Context(), body, signature, time.Now()); err != nil {
		return err
	}
	writeBody(w, http.StatusOK, jsonType, []byte(`{"received":true}`))
	return nil
}
