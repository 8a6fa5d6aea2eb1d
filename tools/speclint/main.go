// Command speclint checks an OpenAPI document by the rules of a configuration. It fails
// for every finding, including hints. The configuration switches off useless rules, with
// a reason for each.
//
// The linter is a library. Its own command cannot be installed as a Go module.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/speakeasy-api/openapi/linter"
	"github.com/speakeasy-api/openapi/openapi"
	rules "github.com/speakeasy-api/openapi/openapi/linter"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: speclint CONFIGURATION DOCUMENT")
		os.Exit(2)
	}
	findings, err := lint(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "speclint:", err)
		os.Exit(1)
	}
	if len(findings.Results) > 0 {
		fmt.Println(findings.FormatText())
		os.Exit(1)
	}
}

func lint(ctx context.Context, configPath, documentPath string) (*linter.Output, error) {
	config, err := linter.LoadConfigFromFile(configPath)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(documentPath)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	document, invalid, err := openapi.Unmarshal(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", documentPath, err)
	}
	checker, err := rules.NewLinter(config)
	if err != nil {
		return nil, err
	}
	return checker.Lint(ctx, linter.NewDocumentInfo(document, documentPath), invalid, nil)
}
