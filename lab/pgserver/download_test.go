package pgserver

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// archive is a stand-in for the downloaded programs: three shell scripts, bin/initdb,
// bin/postgres and bin/pg_ctl. They run the programs in the directory of
// EMBEDDED_TEST_BINARIES.
//
//go:embed testdata/binaries.txz
var archive []byte

func TestDownloadedProgramsRunAServer(t *testing.T) {
	local, err := FindBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("EMBEDDED_TEST_BINARIES", local.dir)
	var downloads atomic.Int32
	repository := serveArchive(t, &downloads)
	cache, serverDir := dataDir(t), dataDir(t)
	t.Setenv("TMPDIR", t.TempDir()) // where the library forgets its log
	var downloaded Binaries
	for range 2 {
		downloaded, err = downloadTo(t.Context(), cache,
			embeddedpostgres.DefaultConfig().BinaryRepositoryURL(repository))
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(cache, string(downloadVersion), "bin"); downloaded.dir != want {
			t.Errorf("the programs are in %s, want %s", downloaded.dir, want)
		}
	}
	start(t, Options{DataDir: serverDir, Binaries: downloaded})
	if n := downloads.Load(); n != 1 {
		t.Errorf("the programs were downloaded %d times, want once", n)
	}
	left, err := filepath.Glob(filepath.Join(cache, "unfinished-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the download left %v (%v)", left, err)
	}
}

// serveArchive is a repository as the library expects one: a jar, which is a zip file,
// with the archive inside.
func serveArchive(t *testing.T, downloads *atomic.Int32) (url string) {
	t.Helper()
	var jar bytes.Buffer
	zipped := zip.NewWriter(&jar)
	inside, err := zipped.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inside.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			fmt.Fprintf(w, "%x", sha256.Sum256(jar.Bytes()))
			return
		}
		downloads.Add(1)
		_, _ = w.Write(jar.Bytes())
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections() // the library's
	})
	return server.URL
}
