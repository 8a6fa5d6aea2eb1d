package pgtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

// defaultImage is the version that docker-compose.yml runs. TEST_POSTGRES_IMAGE names
// another.
const defaultImage = "postgres:17-alpine"

// dataDir is in memory, where databases are made and dropped faster. The images' own
// places differ from version to version.
const dataDir = "/pgtest"

// startContainer runs a server in a container. Should this process be killed,
// testcontainers' reaper, a container too, removes it.
func startContainer(ctx context.Context, getenv func(string) string) (*server, error) {
	image := cmp.Or(getenv("TEST_POSTGRES_IMAGE"), defaultImage)
	if err := dockerAnswers(ctx); err != nil {
		return nil, err
	}
	container, err := postgres.Run(ctx, image,
		postgres.WithUsername("postgres"),
		postgres.WithPassword(rand.Text()),
		postgres.BasicWaitStrategies(),
		testcontainers.WithEnv(map[string]string{"PGDATA": dataDir}),
		testcontainers.WithTmpfs(map[string]string{dataDir: "rw"}),
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "full_page_writes=off", "-c",
			"max_connections=200"),
	)
	stop := func(ctx context.Context) error {
		return testcontainers.TerminateContainer(container, testcontainers.StopContext(ctx))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("running %s: %w", image, err), stop(ctx))
	}
	url, err := container.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking for the port of %s: %w", image, err), stop(ctx))
	}
	return &server{adminURL: url, stop: stop}, nil
}

// dockerAnswers asks the daemon, because its socket may exist without it. The library
// asks without a time limit, so a slow question is left behind.
func dockerAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		provider, err := testcontainers.NewDockerProvider()
		if err == nil {
			err = provider.Health(ctx)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("looking for a Docker daemon: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("looking for a Docker daemon: %w", ctx.Err())
	}
}
