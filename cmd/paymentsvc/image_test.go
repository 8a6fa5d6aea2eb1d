package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The container image is built from what .dockerignore lets in, so it has to let in
// every package of ours that the program needs.
func TestImageHasEveryPackageOfTheProgram(t *testing.T) {
	t.Parallel()
	ignore, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	allowed := strings.Split(string(ignore), "\n")
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}", ".")
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/paymentsvc/paymentsvc/"
	for path := range strings.Lines(string(packages)) {
		inside, ours := strings.CutPrefix(strings.TrimSpace(path), module)
		if top, _, _ := strings.Cut(inside, "/"); ours && !slices.Contains(allowed, "!"+top) {
			t.Errorf(".dockerignore leaves out %s, which has %s", top, path)
		}
	}
}
