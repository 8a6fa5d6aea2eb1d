package pgtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/paymentsvc/paymentsvc/lab/pgserver"
)

// server is a Postgres server for tests.
type server struct {
	adminURL string
	stays    bool // beyond this process, and the databases of failed tests with it
	stop     func(context.Context) error
}

// source is a way to get a server.
type source struct {
	name  string // in TEST_POSTGRES
	start func(ctx context.Context, getenv func(string) string) (*server, error)
}

var sources = []source{
	{name: "docker", start: startContainer},
	{name: "local", start: startLocal},
	{name: "download", start: startDownloaded},
}

// startServer is the first source that works; see the package comment.
func startServer(
	ctx context.Context, getenv func(string) string, sources []source,
) (*server, error) {
	wanted := getenv("TEST_POSTGRES")
	if wanted == "" && getenv("TEST_POSTGRES_IMAGE") != "" {
		wanted = "docker" // an image names a version, and other sources have others
	}
	if url := getenv("TEST_DATABASE_URL"); url != "" && wanted == "" {
		return &server{adminURL: url, stays: true, stop: func(context.Context) error {
			return nil
		}}, nil
	}
	var failures []error
	for _, source := range sources {
		if wanted != "" && wanted != source.name {
			continue
		}
		server, err := source.start(ctx, getenv)
		if err == nil {
			return server, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", source.name, err))
	}
	if failures == nil {
		return nil, fmt.Errorf(
			"TEST_POSTGRES is %q: it must be docker, local or download, or be left out", wanted,
		)
	}
	return nil, fmt.Errorf(`there is no Postgres for the tests. Any of these ways gives them one:
  - install PostgreSQL, so that initdb and postgres are on the PATH or in /usr/lib/postgresql
  - start Docker
  - allow the download of PostgreSQL from Maven Central
or set TEST_DATABASE_URL to an administrator's URL of a server. What was tried:
%w`, errors.Join(failures...))
}

func startLocal(ctx context.Context, _ func(string) string) (*server, error) {
	binaries, err := pgserver.FindBinaries(ctx)
	if err != nil {
		return nil, err
	}
	return startEmbedded(ctx, binaries)
}

func startDownloaded(ctx context.Context, _ func(string) string) (*server, error) {
	binaries, err := pgserver.DownloadBinaries(ctx)
	if err != nil {
		return nil, err
	}
	return startEmbedded(ctx, binaries)
}

// startEmbedded runs a server without fsync, which is faster: its data is thrown away.
func startEmbedded(ctx context.Context, binaries pgserver.Binaries) (*server, error) {
	dir := newDir(pgserver.ScratchDir())
	s, err := pgserver.Start(ctx, pgserver.Options{DataDir: dir, Binaries: binaries})
	if err != nil {
		return nil, errors.Join(err, pgserver.Remove(dir))
	}
	stop := func(ctx context.Context) error {
		return errors.Join(s.Stop(ctx), pgserver.Remove(dir))
	}
	return &server{adminURL: s.URL(), stop: stop}, nil
}
