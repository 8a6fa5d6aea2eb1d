package httpapi

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

// entityTag is an entity tag (RFC 9110, section 8.8.3), and entityTags a list of them.
var (
	entityTag  = regexp.MustCompile(`(?:W/)?"([^\x00-\x20"\x7f]*)"`)
	entityTags = regexp.MustCompile(`^[\t ,]*` + entityTag.String() +
		`([\t ]*,[\t ,]*` + entityTag.String() + `)*[\t ,]*$`)
)

var errIfMatch = &invalidRequest{
	detail: `If-Match must be "*" without the quotes, or a list of entity tags such as "3", "7" ` +
		"with them",
}

// ifMatchOf reads If-Match (RFC 9110, section 13.1.1). A tag that is not one of the
// service's matches no version.
//
// The weak form of a version is that version, other than in the RFC. A proxy that
// compresses makes the tags of answers weak, and a caller sends back what it was given.
// Two versions never have one tag, so an update is lost no more than with a strong one.
//
// current reads the resource's version, which only a list needs. If the version changes
// after that, the condition is not met.
func ifMatchOf(r *http.Request, current func() (int64, error)) (ledger.IfVersion, error) {
	values := r.Header["If-Match"]
	if len(values) == 0 {
		return ledger.Unconditional, nil
	}
	text := strings.Join(values, ",")
	if strings.Trim(text, " \t") == "*" {
		return ledger.AnyVersion, nil
	}
	if !entityTags.MatchString(text) {
		return ledger.NoVersion, errIfMatch
	}
	var versions []ledger.IfVersion
	for _, tag := range entityTag.FindAllStringSubmatch(text, -1) {
		versions = append(versions, versionOf(tag[1]))
	}
	if len(versions) == 1 {
		return versions[0], nil
	}
	version, err := current()
	switch {
	case errors.Is(err, ledger.ErrAccountNotFound), errors.Is(err, payments.ErrNotFound),
		errors.Is(err, webhooks.ErrNotFound):
		return ledger.NoVersion, nil
	case err == nil && !slices.Contains(versions, ledger.IfVersion(version)):
		return ledger.NoVersion, nil
	}
	return ledger.IfVersion(version), err
}

// versionOf is the version whose tag, without its quotes, is the text.
func versionOf(text string) ledger.IfVersion {
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 1 || text != strconv.FormatInt(version, 10) {
		return ledger.NoVersion
	}
	return ledger.IfVersion(version)
}
