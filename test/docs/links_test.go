// Package docs_test checks what the pages for people point to: files, anchors and
// tests.
package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	link    = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)
	test    = regexp.MustCompile(`^Test[A-Z]\w*$`)
	heading = regexp.MustCompile(`^#{1,6} +(.*)$`)
	anchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)">`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// All broken links are reported at once: a rename breaks several of them.
func TestEveryLinkAndNamedTestExists(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages found: %v", err)
	}
	pages = append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"))
	for _, page := range pages {
		for i, line := range prose(t, page) {
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				if err := resolve(t, page, match[1], match[2]); err != nil {
					name, _ := filepath.Rel(root, page)
					t.Errorf("%s:%d: %v; the row is: %.80s", name, i+1, err, line)
				}
			}
		}
	}
}

// resolve looks for the target of a link. A link whose text is the name of a test leads
// to its file.
func resolve(t *testing.T, page, text, target string) error {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return nil
	}
	path, fragment, _ := strings.Cut(target, "#")
	file := page
	if path != "" {
		file = filepath.Join(filepath.Dir(page), path)
	}
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("%s: file %s does not exist", text, path)
	}
	if name := strings.Trim(text, "`"); test.MatchString(name) {
		source, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(source), "func "+name+"(") {
			return fmt.Errorf("%s has no test %s", path, name)
		}
	}
	if fragment != "" && strings.HasSuffix(file, ".md") && !anchors(t, file)[fragment] {
		return fmt.Errorf("%s: no anchor #%s", text, fragment)
	}
	return nil
}

// prose returns a page's lines. Those of code blocks are empty: what they hold is not a link.
func prose(t *testing.T, page string) []string {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	lines, code := strings.Split(string(text), "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if code || fence {
			lines[i] = ""
		}
		code = code != fence
	}
	return lines
}

// anchors are the explicit ones, and those that GitHub derives from headings.
func anchors(t *testing.T, page string) map[string]bool {
	found := map[string]bool{}
	for _, line := range prose(t, page) {
		for _, match := range anchor.FindAllStringSubmatch(line, -1) {
			found[match[1]] = true
		}
		if match := heading.FindStringSubmatch(line); match != nil {
			slug := dropped.ReplaceAllString(strings.ToLower(match[1]), "")
			found[strings.ReplaceAll(slug, " ", "-")] = true
		}
	}
	return found
}
