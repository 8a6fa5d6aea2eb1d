package httpapi

import (
	"cmp"
	"embed"
	"html/template"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	swaggerui "github.com/swaggest/swgui/v5/static"

	contract "github.com/paymentsvc/paymentsvc/api"
	"github.com/paymentsvc/paymentsvc/internal/problem"
)

// The documentation: the contract, which Swagger UI renders from /openapi.yaml, and a
// page for each problem, to which the problem's type links.

//go:embed docs
var docsFiles embed.FS

var docsPages = template.Must(template.ParseFS(docsFiles, "docs/*.html"))

func (a *api) routeDocs(r chi.Router) {
	r.Get("/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		writeBody(w, http.StatusOK, "application/yaml", contract.Document)
	})
	r.Get("/", a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		return writeDocs(w, "home.html", nil)
	}))
	r.Get("/docs", a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		return writeDocs(w, "contract.html", nil)
	}))
	r.Get("/docs/errors", a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		return writeDocs(w, "errors.html", errorPages())
	}))
	r.Get("/docs/errors/{code}", a.handle(getErrorPage))
	a.routeAssets(r, "/docs/assets/",
		asset{name: "docs.css", content: mustRead(docsFiles, "docs/docs.css")},
		asset{name: "docs.js", content: mustRead(docsFiles, "docs/docs.js")},
		asset{name: "favicon-32x32.png", content: mustRead(swaggerui.FS, "favicon-32x32.png")},
		compressedAsset("swagger-ui.css"),
		compressedAsset("swagger-ui-bundle.js"),
	)
}

// compressedAsset is a large file of Swagger UI.
func compressedAsset(name string) asset {
	return asset{name: name, content: mustRead(swaggerui.FS, name+".gz"), compressed: true}
}

func writeDocs(w http.ResponseWriter, name string, data any) error {
	return writePage(w, docsPages.Lookup(name), data, pageSecurity)
}

// errorPage is the data of a problem's page.
type errorPage struct {
	problem.Kind
	Code, StatusText string
	KeyUsed, Advice  string // from Retry
}

func newErrorPage(code string, k problem.Kind) errorPage {
	page := errorPage{Kind: k, Code: code, StatusText: http.StatusText(k.Status)}
	switch k.Retry {
	case problem.SameKey:
		page.KeyUsed = "No"
		page.Advice = "This answer is not stored. Send the request again with the same key. " +
			"Do not use a new key: an older copy of the request may still be under way."
	case problem.NewKey:
		page.KeyUsed = "Yes"
		page.Advice = "This answer is stored with the key, and every retry gets it. " +
			"Another attempt takes a new key."
	case problem.Never:
		page.KeyUsed = "The key or the reference belongs to an earlier request"
		page.Advice = "Do not send this request again. The payment in payment_id has the result " +
			"of the earlier request."
	}
	return page
}

// errorPages are the pages of all problems, by status and code.
func errorPages() []errorPage {
	pages := make([]errorPage, 0, len(problem.Kinds))
	for code, k := range problem.Kinds {
		pages = append(pages, newErrorPage(code, k))
	}
	slices.SortFunc(pages, func(a, b errorPage) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code))
	})
	return pages
}

func getErrorPage(w http.ResponseWriter, r *http.Request) error {
	code := chi.URLParam(r, "code")
	k, known := problem.Kinds[code]
	if !known {
		return errNotFound
	}
	return writeDocs(w, "error.html", newErrorPage(code, k))
}
