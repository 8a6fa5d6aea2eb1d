package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The cluster of deploy/citus cannot run on the project's machines. At least its parts fit
// together.
func TestCitusComposeFileIsWhole(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(root, "deploy", "citus", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	var file struct {
		Services map[string]struct {
			Image     string
			DependsOn map[string]any `yaml:"depends_on"`
		}
	}
	if err := yaml.Unmarshal([]byte(read("docker-compose.yml")), &file); err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`^(citusdata/citus:\d+\.\d+\.\d+|\$\{PAYMENTSVC_IMAGE:-.*\})$`)
	var workers []string
	for name, service := range file.Services {
		if !pinned.MatchString(service.Image) {
			t.Errorf("%s: the image %q is not pinned", name, service.Image)
		}
		for needed := range service.DependsOn {
			if _, ok := file.Services[needed]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, needed)
			}
		}
		if strings.HasPrefix(name, "worker") {
			workers = append(workers, name)
		}
	}
	for _, name := range []string{"coordinator", "setup", "migrate", "instance1", "instance2"} {
		if _, ok := file.Services[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	var added []string
	for _, match := range regexp.MustCompile(`citus_add_node\('(\w+)'`).
		FindAllStringSubmatch(read("setup.sql"), -1) {
		added = append(added, match[1])
	}
	slices.Sort(workers)
	if len(workers) < 2 || !slices.Equal(added, workers) {
		t.Errorf("setup.sql adds %v, and the workers are %v", added, workers)
	}
}
