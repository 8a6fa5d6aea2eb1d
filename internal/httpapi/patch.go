package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// patchTypes are the media types of a JSON merge patch. RFC 7396 defines the first; the
// second is common.
var patchTypes = []string{"application/merge-patch+json", jsonType}

// patchRequest is the body of PATCH /payments/{id}, a JSON merge patch (RFC 7396). null
// resets a member to its default, and in metadata it removes the pair.
type patchRequest struct {
	Description nullableMember[text]             `json:"description"`
	Metadata    nullableMember[map[string]*text] `json:"metadata"`
}

// patchPayment changes the description and metadata of a payment, if the payment still
// has the version in If-Match. "If-Match: *" accepts any version.
func (a *api) patchPayment(w http.ResponseWriter, r *http.Request) error {
	id, err := paymentID(r)
	if err != nil {
		return err
	}
	merchantID := requestOf(r).identity.MerchantID
	condition, err := ifMatchOf(r, func() (int64, error) {
		payment, err := a.Payments.Get(r.Context(), merchantID, id)
		if err != nil {
			return 0, err
		}
		return payment.Version, nil
	})
	switch {
	case err != nil:
		return err
	case condition == ledger.Unconditional:
		return errPreconditionRequired
	}
	var body patchRequest
	if err := decodeAs(w, r, &body, patchTypes...); err != nil {
		if errors.Is(err, errMediaType) {
			w.Header().Set("Accept-Patch", strings.Join(patchTypes, ", ")) // RFC 5789, section 3.1
		}
		return err
	}
	patch, err := body.patch()
	if err != nil {
		return err
	}
	payment, err := a.Payments.Edit(r.Context(), merchantID, id, condition, patch)
	if err != nil {
		return err
	}
	writePayment(w, payment)
	return nil
}

func (p *patchRequest) patch() (payments.Patch, error) {
	var patch payments.Patch
	if p.Description.given {
		description := string(p.Description.value)
		patch.Description = &description
	}
	patch.NoMetadata = p.Metadata.given && p.Metadata.null
	patch.Metadata = make(map[string]*string, len(p.Metadata.value))
	for key, value := range p.Metadata.value {
		if strings.ContainsRune(key, 0) {
			return patch, errMetadataName
		}
		patch.Metadata[key] = (*string)(value)
	}
	return patch, nil
}

// nullableMember is a member for which absent, null and a value differ.
type nullableMember[T any] struct {
	given, null bool
	value       T
}

func (m *nullableMember[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	m.given = true
	if dec.PeekKind() == 'n' {
		m.null = true
		return dec.SkipValue()
	}
	return json.UnmarshalDecode(dec, &m.value)
}
