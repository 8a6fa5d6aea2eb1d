package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/paymentsvc/paymentsvc/lab/process"
)

// downloadVersion is the release that is downloaded; the library knows where it lies
// and checks its checksum.
const downloadVersion = embeddedpostgres.V17

// DownloadBinaries gets Postgres's programs from the network. A later call finds them in
// this user's cache. The context does not bound the download: the library cannot be
// interrupted.
func DownloadBinaries(ctx context.Context) (Binaries, error) {
	cache, err := downloadCache()
	if err != nil {
		return Binaries{}, fmt.Errorf("choosing where to keep downloaded programs: %w", err)
	}
	return downloadTo(ctx, cache, embeddedpostgres.DefaultConfig())
}

// downloadCache is a place that the user of root's servers may enter too.
func downloadCache() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/paymentsvc/postgres", nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "paymentsvc", "postgres"), err
}

// downloadTo unpacks into another directory and renames it. So processes that download at
// the same time, such as the tests of several packages, never find an incomplete one.
func downloadTo(
	ctx context.Context, cache string, config embeddedpostgres.Config,
) (Binaries, error) {
	home := filepath.Join(cache, string(downloadVersion))
	if b, err := inspect(ctx, filepath.Join(home, "bin")); err == nil {
		return b, nil
	}
	if err := makeEnterable(cache); err != nil {
		return Binaries{}, fmt.Errorf("making a place for downloaded programs: %w", err)
	}
	work, err := os.MkdirTemp(cache, "unfinished-")
	if err != nil {
		return Binaries{}, fmt.Errorf("making a place for downloaded programs: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // the cache may be removed at any time
	unpacked := filepath.Join(work, "unpacked")
	if err := unpack(work, unpacked, config.CachePath(cache)); err != nil {
		return Binaries{}, fmt.Errorf("downloading Postgres: %w", err)
	}
	if err := os.Rename(unpacked, home); err != nil && !errors.Is(err, fs.ErrExist) {
		return Binaries{}, fmt.Errorf("keeping downloaded programs: %w", err)
	}
	return inspect(ctx, filepath.Join(home, "bin"))
}

// unpack has the library download the programs. The library can only start a server, so
// it starts one for a moment. Under root the start fails, but after the download.
func unpack(work, unpacked string, config embeddedpostgres.Config) error {
	var said bytes.Buffer
	server := embeddedpostgres.NewDatabase(config.
		Version(downloadVersion).
		BinariesPath(unpacked).
		RuntimePath(filepath.Join(work, "runtime")).
		Port(process.FreePort()).
		Logger(&said))
	err := server.Start()
	if err == nil {
		return server.Stop()
	}
	for _, program := range []string{"initdb", "postgres"} {
		if _, statErr := os.Stat(filepath.Join(unpacked, "bin", program)); statErr != nil {
			return err
		}
	}
	return nil
}
