package httpapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"html/template"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
)

// The pages for people and their assets. The binary holds all of them.

// pageSecurity is a Content-Security-Policy. A page loads only files of this service.
// Scripts and styles inside a page do not run, so injected text stays text. (data: is
// for the icons in Swagger UI's stylesheet.)
const pageSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' " +
	"data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// writePage answers with a page.
func writePage(w http.ResponseWriter, page *template.Template, data any, security string) error {
	var content bytes.Buffer
	if err := page.Execute(&content, data); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Security-Policy", security)
	header.Set("Referrer-Policy", "no-referrer")
	writeBody(w, http.StatusOK, "text/html; charset=utf-8", content.Bytes())
	return nil
}

// asset is a file that pages load.
type asset struct {
	name       string
	content    []byte
	compressed bool // with gzip
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".png": "image/png",
}

func (a *api) routeAssets(r chi.Router, under string, assets ...asset) {
	for _, each := range assets {
		if assetTypes[path.Ext(each.name)] == "" {
			panic("no media type is known for " + each.name)
		}
		r.Get(under+each.name, a.handle(each.get))
	}
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
	header.Set("Cache-Control", "no-cache") // all of ours must be of one release
	if f.compressed {
		header.Set("Cache-Control", "max-age=3600") // a library's: large, and rarely changed
		header.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			header.Set("Content-Encoding", "gzip")
		} else {
			var err error
			if content, err = decompress(content); err != nil {
				return err
			}
		}
	}
	header.Set("Content-Type", assetTypes[path.Ext(f.name)])
	header.Set("Content-Length", strconv.Itoa(len(content)))
	header.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(content) // an error means that the caller has gone
	return nil
}

func decompress(content []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}
