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

// patchTypes are what a patch may say that it is: a JSON merge patch (RFC 7396), also
// if it says only that it is JSON.
var patchTypes = []string{"application/merge-patch+json", jsonType}

// patchRequest is the body of PATCH /payments/{id}, a JSON merge patch (RFC 7396): null
// takes a member back to its default, and in metadata it removes the pair.
type patchRequest struct {
	Description nullableMember[text]             `json:"description"`
	Metadata    nullableMember[map[string]*text] `json:"metadata"`
}

// patchPayment changes what the caller has written on a payment, if it is still the
// version that the caller has seen, or if the caller says that any version will do.
func (a *api) patchPayment(w http.ResponseWriter, r *http.Request) error {
	id, err := paymentOf(r)
	if err != nil {
		return err
	}
	condition := ifMatchOf(r)
	if condition == ledger.Unconditional {
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
	payment, err := a.Payments.Edit(r.Context(), requestOf(r).identity.MerchantID, id, condition,
		patch)
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
			return patch, &invalidRequest{detail: "names must not contain U+0000",
				pointer: "/metadata"}
		}
		patch.Metadata[key] = (*string)(value)
	}
	return patch, nil
}

// nullableMember is a member that may be absent, null or a value, where the three are
// different requests.
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
