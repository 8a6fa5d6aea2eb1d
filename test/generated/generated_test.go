// Package generated proves that clients generated from the contract compile, and make a
// charge, a replay and a typed error.
//
//	tools/goclient  for the client of oapi-codegen, in Go
//	typescript      for the types of openapi-typescript; it also lints the contract
//
// The versions are pinned in tools/go.mod and typescript/package-lock.json. The lock file
// names no registry: npm wrote it with omit-lockfile-registry-resolved.
package generated

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/paymentsvc/paymentsvc/internal/merchants"
	"github.com/paymentsvc/paymentsvc/lab/inprocess"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newRunner returns a function that runs a program in a directory. Its environment names
// a service and the API key of a new merchant.
func newRunner(t *testing.T) func(dir, program string, args ...string) {
	t.Helper()
	db := pgtest.New(t)
	service := inprocess.Start(t, db.URL)
	_, apiKey, err := merchants.Create(t.Context(), db.Pool, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return func(dir, program string, args ...string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), program, args...)
		command.Dir = dir
		command.Env = append(os.Environ(), "URL="+service.URL(), "API_KEY="+apiKey)
		if said, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", program, args, err, said)
		}
	}
}

func TestGoClientOfOapiCodegen(t *testing.T) {
	t.Parallel()
	run := newRunner(t)
	dir := t.TempDir()
	client, overlay := filepath.Join(dir, "client.go"), filepath.Join(dir, "overlay.json")
	run("../../tools", "go", "tool", "oapi-codegen", "-generate=models,client", "-package=main",
		"-o", client, "../api/openapi.yaml")
	code, err := os.ReadFile(client)
	if err != nil {
		t.Fatal(err)
	}
	if untyped := regexp.MustCompile(`\w+ +interface\{\} +.json:.*`).Find(code); untyped != nil {
		t.Errorf("a member has no type: %s", untyped)
	}
	place, err := filepath.Abs("../../tools/goclient/client.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{place: client}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	run("../../tools", "go", "run", "-tags=generated", "-overlay", overlay, "./goclient")
}

func TestTypeScriptClientOfOpenAPITypeScript(t *testing.T) {
	t.Parallel()
	run := newRunner(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("typescript")); err != nil {
		t.Fatal(err)
	}
	contract, err := filepath.Abs("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	run(dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	run(dir, "node", "lint.js", contract)
	run(dir, "node_modules/.bin/openapi-typescript", contract, "--output", "contract.d.ts")
	run(dir, "node_modules/.bin/tsc")
	run(dir, "node", "client.js")
}
