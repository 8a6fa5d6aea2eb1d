package pgtest

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestNoPostgresFailsAndNamesTheThreeWays(t *testing.T) {
	t.Parallel()
	_, err := startServer(t.Context(), env(nil),
		[]source{broken("docker"), broken("local"), broken("download")})
	if err == nil {
		t.Fatal("a server was started from nothing")
	}
	for _, want := range []string{
		"install PostgreSQL", "start Docker", "allow the download",
		"docker: none here", "local: none here", "download: none here",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	for range 2 { // of the first test, and of any other
		r := &testRun{begun: true, err: err}
		fake := inFake(t, func(tb testing.TB) { r.adminURL(tb) })
		fake.wantComplaint(t, "install PostgreSQL", "start Docker", "allow the download")
	}
}

func TestServerComesFromTheFirstSourceThatWorks(t *testing.T) {
	t.Parallel()
	all := []source{broken("docker"), working("local"), working("download")}
	for _, row := range []struct {
		name    string
		env     map[string]string
		sources []source
		want    string // the URL, or part of the error
	}{
		{"in their order", nil, all, "local://"},
		{
			"a given server before them",
			map[string]string{"TEST_DATABASE_URL": "given://"},
			all,
			"given://",
		},
		{"a forced one only", map[string]string{"TEST_POSTGRES": "download"}, all, "download://"},
		{
			"a forced one before that",
			map[string]string{"TEST_POSTGRES": "local", "TEST_DATABASE_URL": "given://"},
			all,
			"local://",
		},
		{
			"a container, if its image is named",
			map[string]string{"TEST_POSTGRES_IMAGE": "postgres:18"},
			all, "docker: none here",
		},
		{
			"its image before that",
			map[string]string{
				"TEST_POSTGRES_IMAGE": "postgres:18",
				"TEST_DATABASE_URL":   "given://",
			},
			all, "docker: none here",
		},
		{
			"a forced one that does not work",
			map[string]string{"TEST_POSTGRES": "docker"},
			all,
			"docker: none here",
		},
		{
			"a forced one that does not exist",
			map[string]string{"TEST_POSTGRES": "dokcer"},
			all,
			`TEST_POSTGRES is "dokcer"`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server, err := startServer(t.Context(), env(row.env), row.sources)
			switch {
			case err == nil && server.adminURL != row.want:
				t.Errorf("the server is %s, want %s", server.adminURL, row.want)
			case err != nil && !strings.Contains(err.Error(), row.want):
				t.Errorf("the error is %q, want %q", err, row.want)
			}
		})
	}
}

func TestAdministratorsURLMayHoldAnything(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://ad%40min:p%2Fw%20+%25@db.example:5433/home?sslmode=disable&application_name=a",
		"postgres://postgres:secret@[::1]:5432/postgres?",
	} {
		config, err := testConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		if config.URL() != url {
			t.Errorf("%s became %s", url, config.URL())
		}
	}
	if _, err := testConfig("host=db.example"); err == nil ||
		!strings.Contains(err.Error(), "TEST_DATABASE_URL") {
		t.Errorf("a connection string that is no URL gave %v", err)
	}
}

func env(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func broken(name string) source {
	return source{name, func(context.Context, func(string) string) (*server, error) {
		return nil, errors.New("none here")
	}}
}

func working(name string) source {
	return source{name, func(context.Context, func(string) string) (*server, error) {
		return &server{adminURL: name + "://"}, nil
	}}
}
