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

// What the pages for people are served with. Everything that they load is in this
// binary.

// pageSecurity lets a page load what this service serves and run only its files: no
// script or style that stands in a page itself, so that a text that found its way into
// one stays text. (data: are the icons in Swagger UI's stylesheet.)
const pageSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' " +
	"data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// htmlPage is a page that is about to be served.
type htmlPage struct {
	template *template.Template
	data     any
	security string // its Content-Security-Policy
}

func (p htmlPage) write(w http.ResponseWriter) error {
	var content bytes.Buffer
	if err := p.template.Execute(&content, p.data); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Security-Policy", p.security)
	header.Set("Referrer-Policy", "no-referrer")
	writeBody(w, http.StatusOK, "text/html; charset=utf-8", content.Bytes())
	return nil
}

// asset is a file that pages load.
type asset struct {
	name       string
	content    []byte
	compressed bool // with gzip: a library's
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".png": "image/png",
}

func (a *api) routeAssets(r chi.Router, under string, assets ...asset) {
	for _, each := range assets {
		if assetTypes[path.Ext(each.name)] == "" {
			panic("no type is known for " + each.name)
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
	header.Set("Cache-Control", "no-cache") // ours change with a release, all of them together
	if f.compressed {
		header.Set("Cache-Control", "max-age=3600") // it is large, and changes rarely
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
	header.Set("Content-Type", assetTypes[path.Ext(f.name)])
	header.Set("Content-Length", strconv.Itoa(len(content)))
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
