package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// queryOf reads a request's query. It accepts the known parameters, each at most once
// and not empty. It refuses all others, because a misspelt parameter would be ignored
// without notice. The refusal does not repeat the query, which may hold a secret.
func queryOf(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &invalidRequest{detail: "the query string cannot be read"}
	}
	for name, given := range values {
		switch {
		case len(known) == 0:
			return nil, &invalidRequest{detail: "this request takes no query parameters"}
		case !slices.Contains(known, name), len(given) != 1, given[0] == "":
			return nil, &invalidRequest{detail: "this request takes no query parameters but " +
				strings.Join(known, ", ") + ", each at most once and not empty"}
		}
	}
	return values, nil
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
