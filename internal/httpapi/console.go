package httpapi

import (
	"html/template"
	"io/fs"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/paymentsvc/paymentsvc/internal/console"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// The console is a page, and a caller of this API like any other (see package console).

// consolePage stands beside the documentation's templates, for their navigation.
var consolePage = template.Must(template.Must(docsPages.Clone()).
	ParseFS(console.Files, "console.html")).Lookup("console.html")

// consoleSecurity also has the browser refuse to make markup of a text. (Swagger UI
// does make some.)
const consoleSecurity = pageSecurity + "; require-trusted-types-for 'script'; trusted-types 'none'"

func (a *api) routeConsole(r chi.Router) {
	r.Get("/console", a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		return htmlPage{template: consolePage, data: ledger.Currencies(),
			security: consoleSecurity}.write(w)
	}))
	a.routeAssets(r, "/console/assets/", consoleAssets()...)
}

func consoleAssets() (assets []asset) {
	files, err := fs.Glob(console.Files, "assets/*")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	for _, file := range files {
		assets = append(assets,
			asset{name: file[len("assets/"):], content: mustRead(console.Files, file)})
	}
	return assets
}
