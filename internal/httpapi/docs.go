package httpapi

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"embed"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	swaggerui "github.com/swaggest/swgui/v5/static"

	contract "github.com/paymentsvc/paymentsvc/api"
)

// The pages for people: the contract, drawn by Swagger UI from the very document that /openapi.yaml serves, and a page
// for each problem, because that is where a problem's type leads. Everything that they load is in this binary.

//go:embed docs
var docsFiles embed.FS

var docsPages = template.Must(template.ParseFS(docsFiles, "docs/*.html"))

// pageSecurity lets a page load what this service serves and run only its files: no script or style that stands in a page
// itself, so that a text that found its way into one stays text. (data: are the icons in Swagger UI's stylesheet.)
const pageSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (a *api) routeDocs(r chi.Router) {
	r.Get("/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		writeBody(w, http.StatusOK, "application/yaml", contract.Document)
	})
	r.Get("/docs", a.handle(func(w http.ResponseWriter, _ *http.Request) error { return writePage(w, "contract.html", nil) }))
	r.Get("/docs/errors", a.handle(func(w http.ResponseWriter, _ *http.Request) error { return writePage(w, "errors.html", errorPages()) }))
	r.Get("/docs/errors/{code}", a.handle(getErrorPage))
	for _, each := range []asset{
		{"docs.css", "text/css; charset=utf-8", mustRead(docsFiles, "docs/docs.css"), false},
		{"docs.js", "text/javascript; charset=utf-8", mustRead(docsFiles, "docs/docs.js"), false},
		{"swagger-ui.css", "text/css; charset=utf-8", mustRead(swaggerui.FS, "swagger-ui.css.gz"), true},
		{"swagger-ui-bundle.js", "text/javascript; charset=utf-8", mustRead(swaggerui.FS, "swagger-ui-bundle.js.gz"), true},
		{"favicon-32x32.png", "image/png", mustRead(swaggerui.FS, "favicon-32x32.png"), false},
	} {
		r.Get("/docs/assets/"+each.name, a.handle(each.get))
	}
}

// errorPage is what the page of a problem says.
type errorPage struct {
	Code, Title, Happened, Next string
	Status                      int
	StatusText                  string
	Retry                       retry
	KeyUsed, Advice             string // from Retry
}

func newErrorPage(code string, k kind) errorPage {
	page := errorPage{
		Code: code, Title: k.title, Happened: k.happened, Next: k.next,
		Status: k.status, StatusText: http.StatusText(k.status), Retry: k.retry,
	}
	switch k.retry {
	case sameKey:
		page.KeyUsed = "No"
		page.Advice = "This answer is not stored. Send the request again with the same key, never with a new one: " +
			"an older copy of it may still be under way."
	case newKey:
		page.KeyUsed = "Yes"
		page.Advice = "This answer is stored with the key. Every retry gets it again. Another attempt takes a new key."
	case never:
		page.KeyUsed = "By something that is done"
		page.Advice = "Sending this request again will not help. The payment that payment_id names says what was done."
	}
	return page
}

// errorPages are the pages of all problems, by status and code.
func errorPages() []errorPage {
	pages := make([]errorPage, 0, len(kinds))
	for code, k := range kinds {
		pages = append(pages, newErrorPage(code, k))
	}
	slices.SortFunc(pages, func(a, b errorPage) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code))
	})
	return pages
}

func getErrorPage(w http.ResponseWriter, r *http.Request) error {
	code := chi.URLParam(r, "code")
	k, known := kinds[code]
	if !known {
		return errNotFound
	}
	return writePage(w, "error.html", newErrorPage(code, k))
}

func writePage(w http.ResponseWriter, name string, data any) error {
	var page bytes.Buffer
	if err := docsPages.ExecuteTemplate(&page, name, data); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Security-Policy", pageSecurity)
	header.Set("Referrer-Policy", "no-referrer")
	writeBody(w, http.StatusOK, "text/html; charset=utf-8", page.Bytes())
	return nil
}

// asset is a file that the pages load.
type asset struct {
	name, contentType string
	content           []byte
	compressed        bool // by gzip, as it is embedded
}

func mustRead(files embed.FS, name string) []byte {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return content
}

func (f *asset) get(w http.ResponseWriter, r *http.Request) error {
	content := f.content
	header := w.Header()
	if f.compressed {
		header.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") { // every browser's does
			header.Set("Content-Encoding", "gzip")
		} else {
			var err error
			if content, err = decompress(content); err != nil {
				return err
			}
		}
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Length", strconv.Itoa(len(content)))
	header.Set("Cache-Control", "max-age=3600")
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(content) // a caller that has gone will ask again
	return nil
}

func decompress(content []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}
