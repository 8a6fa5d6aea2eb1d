package webhooks

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// Status of an endpoint. A disabled one gets no deliveries.
type Status string

// The statuses that the schema knows.
const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// Reasons for which an endpoint is not read or not changed.
var (
	ErrNotFound  = errors.New("there is no such webhook endpoint")
	ErrInvalidID = errors.New("a webhook endpoint's id is 1 to 64 of A-Z a-z 0-9 _ . : - and " +
		"begins with a letter, a digit or _")
	ErrTooMany         = errors.New("a merchant may have at most 20 webhook endpoints")
	ErrVersionMismatch = errors.New("the webhook endpoint has changed since the given version")
	ErrVersionRequired = errors.New(
		"a new secret requires If-Match with the webhook endpoint's ETag, so that a retry does " +
			"not make another one")
	ErrNoVersion = errors.New("there is no such webhook endpoint, so If-Match cannot match")
	ErrDisabled  = errors.New(
		`the webhook endpoint is disabled; PUT it with "status":"enabled" to enable it`)
)

const (
	endpointsMax   = 20 // of a merchant
	urlLengthMax   = 2048
	secretPrefix   = "whsec_"
	secretSize     = 32 // bytes of a secret that the service makes
	secretSizeMin  = 24 // as Standard Webhooks say
	secretSizeMax  = 64
	rotationPeriod = 24 * time.Hour // how long the previous secret signs too
)

// idForm is the form of an id that a caller chooses. The schema checks the same.
var idForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$`)

// urlForm is the form of a URL: its host, its port, its path and query.
var urlForm = regexp.MustCompile(
	`^https?://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?([/?][!"$-~]*)?$`)

// ValidID tells whether id could name an endpoint.
func ValidID(id string) bool { return idForm.MatchString(id) }

// Ref names an endpoint.
type Ref struct {
	MerchantID int64
	ID         string
}

// Endpoint is a receiver as its owner sees it, without its secret.
type Endpoint struct {
	Ref
	URL            string
	EventTypes     []string // nil: all
	Status         Status
	DisabledReason string // "requested" or "gone"; "" while enabled
	Version        int64
	CreatedAt      time.Time

	uid uuid.UUID
}

// Terms are what an endpoint's owner decides about it.
type Terms struct {
	URL        string
	EventTypes []string // empty: all
	Secret     *string  // nil: a new endpoint gets one, another keeps its own
	Status     *Status  // nil: a new endpoint is enabled, another stays as it is
}

// IfVersion is the version that an endpoint must have for a change of it to be made. As
// in package ledger, 0 asks for nothing and may create, and a negative number is met by
// any version.
type IfVersion int64

func (t *Terms) check() error {
	var fields validate.Fields
	checkURL(&fields, t.URL)
	for _, kind := range t.EventTypes {
		fields.Require(slices.Contains(outbox.Types, kind), "/event_types",
			"must have only "+strings.Join(outbox.Types, ", "))
	}
	fields.Require(t.Secret == nil || validSecret(*t.Secret), "/secret",
		"must be whsec_ and 24 to 64 bytes in base64")
	fields.Require(t.Status == nil || *t.Status == Enabled || *t.Status == Disabled, "/status",
		"must be enabled or disabled")
	return fields.Err()
}

// types are the event types in one order and form.
func (t *Terms) types() []string {
	if len(t.EventTypes) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(t.EventTypes)))
}

// checkURL looks only at the form. Where the name leads is checked at each connection
// (see guard.go): it may lead elsewhere tomorrow.
func checkURL(fields *validate.Fields, text string) {
	fields.Require(len(text) <= urlLengthMax, "/url", "must have at most 2048 bytes")
	u, err := url.Parse(text)
	fields.Require(urlForm.MatchString(text) && err == nil && u.User == nil, "/url",
		"must be a URL that begins with https:// or http://, in ASCII, without a user name, "+
			"a password and a fragment")
}

func validSecret(text string) bool {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return ok && err == nil && !strings.ContainsAny(encoded, "\r\n") &&
		len(raw) >= secretSizeMin && len(raw) <= secretSizeMax
}

func newSecret() string {
	raw := make([]byte, secretSize)
	_, _ = rand.Read(raw) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(raw)
}
