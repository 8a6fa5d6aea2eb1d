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
}

func TestServerComesFromTheFirstSourceThatWorks(t *testing.T) {
	t.Parallel()
	const given = "TEST_DATABASE_URL"
	for _, row := range []struct {
		name string
		env  map[string]string
		want string // the URL, or part of the error
	}{
		{"in their order", nil, "local://"},
		{"a given server before them", map[string]string{given: "given://"}, "given://"},
		{
			"a forced one before that",
			map[string]string{given: "given://", "TEST_POSTGRES": "download"},
			"download://",
		},
		{
			"a container of the named image before that",
			map[string]string{given: "given://", "TEST_POSTGRES_IMAGE": "postgres:18"},
			"docker: none here",
		},
		{"an unknown one", map[string]string{"TEST_POSTGRES": "x"}, `TEST_POSTGRES is "x"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server, err := startServer(t.Context(), env(row.env),
				[]source{broken("docker"), working("local"), working("download")})
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
	const url = "postgres://ad%40min:p%2Fw%20+%25@[::1]:5433/home?sslmode=disable"
	config, err := testConfig(url)
	if err != nil || config.URL() != url {
		t.Errorf("%s became %s, %v", url, config.URL(), err)
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
