package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// queryOf reads a request's query. It accepts the known parameters, each at most once
// and not empty. It refuses all others, because a misspelt parameter would be ignored
// without notice.
func queryOf(r *http.Request, known ...string) (url.Values, error) {
	values := url.Values{}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, err := parameterOf(pair)
		complaint := ""
		switch {
		case pair == "":
			continue
		case !slices.Contains(known, name):
			complaint = " is not a parameter of this request"
		case err != nil:
			complaint = " cannot be read: it is not percent-encoded"
		case !utf8.ValidString(value):
			complaint = " is not UTF-8"
		case values.Has(name):
			complaint = " is given twice"
		case value == "":
			complaint = " is empty"
		}
		if complaint != "" {
			return nil, &invalidRequest{detail: shownParameter(name) + complaint}
		}
		values.Set(name, value)
	}
	return values, nil
}

// parameterOf reads one parameter. After an error of its value it still has the name.
func parameterOf(pair string) (name, value string, err error) {
	escapedName, escapedValue, _ := strings.Cut(pair, "=")
	if name, err = url.QueryUnescape(escapedName); err != nil {
		return "", "", err
	}
	if strings.Contains(pair, ";") { // some readers take it for a &
		return name, "", errSemicolon
	}
	value, err = url.QueryUnescape(escapedValue)
	return name, value, err
}

var errSemicolon = errors.New("a semicolon is not percent-encoded")

// parameterName is the form of a name that a refusal repeats. Other text may be a secret
// that stands in a wrong place.
var parameterName = regexp.MustCompile(`^[\w.\[\]-]{1,32}$`)

func shownParameter(name string) string {
	if parameterName.MatchString(name) {
		return name
	}
	return "one of the query's names"
}

// refuseQuery is for requests without query parameters.
func (a *api) refuseQuery(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		if _, err := queryOf(r); err != nil {
			return err
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// rfc3339 is the form of a time (RFC 3339, section 5.6), in upper case. time.Parse is
// laxer: it takes a decimal comma, and an offset of 24 hours.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?` +
	`(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// timeOf reads a query parameter that is a time; nil if it is absent.
func timeOf(values url.Values, name string) (*time.Time, error) {
	if !values.Has(name) {
		return nil, nil
	}
	at, ok := parseTime(strings.ToUpper(values.Get(name)))
	if !ok {
		return nil, &invalidRequest{detail: name + " must be a time as in RFC 3339, such as " +
			"2026-01-31T12:00:00Z, of the years 0001 to 9999 (a + is written %2B)"}
	}
	return &at, nil
}

func parseTime(text string) (at time.Time, ok bool) {
	if !rfc3339.MatchString(text) {
		return time.Time{}, false
	}
	// A leap second is the first second of the next day, as in Postgres. It is the last
	// second of its day in UTC (section 5.7).
	const seconds = len("2026-12-31T23:59:")
	leap := text[seconds:seconds+2] == "60"
	if leap {
		text = text[:seconds] + "59" + text[seconds+2:]
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	at = at.UTC()
	if leap {
		ok = at.Hour() == 23 && at.Minute() == 59
		at = at.Add(time.Second)
	}
	return at, err == nil && ok == leap && at.Year() >= 1 && at.Year() <= 9999
}
