package httpapi_test

import (
	"cmp"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/paymentsvc/paymentsvc/api"
	problems "github.com/paymentsvc/paymentsvc/internal/problem"
	"github.com/paymentsvc/paymentsvc/lab/contract"
)

// fetch gets a page without an API key. Its body may be compressed.
func fetch(t *testing.T, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(content)
}

// readText gets a page that must be there.
func readText(t *testing.T, url string) string {
	t.Helper()
	res, content := fetch(t, url, http.Header{})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, res.Status)
	}
	return content
}

func TestTheContractIsServedAsItWasWritten(t *testing.T) {
	t.Parallel()
	if readText(t, newStaticURL(t, nil)+"/openapi.yaml") != string(api.Document) {
		t.Error("/openapi.yaml is not api/openapi.yaml")
	}
}

// The type of a problem document leads to a page (RFC 9457, section 3.1.1). Every code
// that an operation may answer with has one, and none has one that no operation answers
// with; only a wrong method is no operation's.
func TestEveryProblemHasItsPage(t *testing.T) {
	t.Parallel()
	url := newStaticURL(t, nil)
	described := map[string]bool{"method_not_allowed": true}
	for _, operation := range contract.Published().Operations() {
		for _, response := range operation.Responses.Map() {
			for _, code := range codesOf(response) {
				described[code] = true
			}
		}
	}
	index := readText(t, url+"/docs/errors")
	for code := range described {
		page := readText(t, url+"/docs/errors/"+code)
		for _, part := range []string{
			"<code>" + code + "</code>", "What happened", "Is the idempotency key used up?",
			"What to do now", `"retry":"` + cmp.Or(retryOf[code], "same_key") + `"`,
		} {
			if !strings.Contains(page, part) {
				t.Errorf("the page of %s lacks %q", code, part)
			}
		}
		if !strings.Contains(index, `href="/docs/errors/`+code+`"`) {
			t.Errorf("the list of problems lacks %s", code)
		}
	}
	for code := range problems.Kinds {
		if !described[code] {
			t.Errorf("%s has a page, and no operation answers with it", code)
		}
	}
	res, content := fetch(t, url+"/docs/errors/no_such_code", http.Header{})
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("a code that there is not gets %s %s", res.Status, content)
	}
}

// The browser enforces the page's policy, so the page must send it.
func TestPageRunsOnlyItsOwnFiles(t *testing.T) {
	t.Parallel()
	url := newStaticURL(t, nil)
	loaded := regexp.MustCompile(`(?:src|href)="(/(?:docs|console)/assets/[^"]*)"`)
	inline := regexp.MustCompile(`(?i)<style|<script>|\sstyle=|\son[a-z]+=|javascript:|https?://`)
	files := map[string]bool{}
	for _, path := range []string{
		"/", "/docs", "/docs/errors", "/docs/errors/outcome_unknown",
		"/console",
	} {
		res, page := fetch(t, url+path, http.Header{})
		policy := res.Header.Get("Content-Security-Policy")
		for _, part := range []string{
			"default-src 'none'", "script-src 'self';", "style-src 'self';",
			"frame-ancestors 'none'", "form-action 'none'",
		} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q lacks %q", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") ||
			res.Header.Get("X-Content-Type-Options") != "nosniff" ||
			res.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: its headers are %v", path, res.Header)
		}
		if path == "/" && (!strings.Contains(page, `<dt><a href="/docs">`) ||
			!strings.Contains(page, `<dt><a href="/console">`)) {
			t.Errorf("the home page leads nowhere:\n%s", page)
		}
		if path == "/console" &&
			!strings.Contains(policy, "require-trusted-types-for 'script'; trusted-types 'none'") {
			t.Errorf("%s: the policy %q lets a text become markup", path, policy)
		}
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s holds %q", path, found)
		}
		for _, match := range loaded.FindAllStringSubmatch(page, -1) {
			files[match[1]] = true
		}
	}
	if len(files) < 7 {
		t.Fatalf("the pages load only %v", files)
	}
	for file := range files {
		wantFile(t, url+file)
	}
}

// wantFile checks that a file that a page loads is there, compressed or not, and is
// what its name says.
func wantFile(t *testing.T, path string) {
	t.Helper()
	plainly, content := fetch(t, path, http.Header{})
	compressed, packed := fetch(t, path, http.Header{"Accept-Encoding": {"gzip, deflate, br"}})
	if compressed.Header.Get("Content-Encoding") == "gzip" {
		reader, err := gzip.NewReader(strings.NewReader(packed))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		unpacked, err := io.ReadAll(reader)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		packed = string(unpacked)
	}
	if content == "" || content != packed {
		t.Errorf("%s: %d bytes plainly, and %d compressed", path, len(content), len(packed))
	}
	contentTypes := map[string]string{
		"css": "text/css; charset=utf-8",
		".js": "text/javascript; charset=utf-8", "png": "image/png",
	}
	for _, res := range []*http.Response{plainly, compressed} {
		if res.StatusCode != http.StatusOK ||
			res.Header.Get("Content-Type") != contentTypes[path[len(path)-3:]] ||
			res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %v", path, res.Status, res.Header)
		}
	}
}

func TestEveryOperationSaysHowItIsIdempotent(t *testing.T) {
	t.Parallel()
	for _, operation := range contract.Published().Operations() {
		short, _ := operation.Extensions["x-idempotency"].(string)
		if short == "" || !strings.Contains(operation.Description, "**Idempotency:** ") {
			t.Errorf("%s does not say it", operation.OperationID)
		}
		byKey := slices.ContainsFunc(operation.Parameters, func(p *openapi3.ParameterRef) bool {
			return p.Value.Name == "Idempotency-Key" && p.Value.Required
		})
		if byKey != strings.Contains(short, "Idempotency-Key") {
			t.Errorf("%s is idempotent %q, and takes a key: %t", operation.OperationID, short,
				byKey)
		}
	}
}

// codesOf are the problems that a response may be.
func codesOf(response *openapi3.ResponseRef) []string {
	content := response.Value.Content["application/problem+json"]
	if content == nil {
		return nil
	}
	var codes []string
	for _, part := range content.Schema.Value.AllOf {
		if code := part.Value.Properties["code"]; code != nil {
			for _, each := range code.Value.Enum {
				codes = append(codes, each.(string))
			}
		}
	}
	return codes
}
