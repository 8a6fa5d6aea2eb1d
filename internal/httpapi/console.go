package httpapi

import (
	"html/template"
	"io/fs"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/paymentsvc/paymentsvc/internal/console"
	"github.com/paymentsvc/paymentsvc/internal/ledger"
)

// consolePage shares the navigation template of the documentation.
var consolePage = template.Must(template.Must(docsPages.Clone()).
	ParseFS(console.Files, "console.html")).Lookup("console.html")

// consoleSecurity also makes the browser refuse to parse a text as markup. (Swagger UI
// needs that.)
const consoleSecurity = pageSecurity + "; require-trusted-types-for 'script'; trusted-types 'none'"

func (a *api) routeConsole(r chi.Router) {
	r.Get("/console", a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		return writePage(w, consolePage, ledger.Currencies(), consoleSecurity)
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
