package deploytest

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// kube-score finds nothing in the manifests but what they say is ignored, and why.
func TestKubeScore(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{dev, prod} {
		out, err := kubeTool(t, render(t, dir), "kube-score", "score", "--output-format", "ci", "--exit-one-on-warning", "-")
		if err == nil {
			continue
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "[OK]") && !strings.HasPrefix(line, "[SKIPPED]") {
				t.Errorf("%s: %s", dir, line)
			}
		}
		if !t.Failed() {
			t.Errorf("%s: %v\n%s", dir, err, out)
		}
	}
}

// Each annotation that lets kube-score ignore a finding follows a comment with the reason.
func TestIgnoredFindingsHaveReasons(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(filepath.Join(root, k8s), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		before := ""
		for line := range strings.Lines(read(t, strings.TrimPrefix(path, root+"/"))) {
			if strings.Contains(line, "kube-score/ignore") {
				if found++; !strings.HasPrefix(strings.TrimSpace(before), "#") {
					t.Errorf("%s: give the reason in a comment before: %s", path, line)
				}
			}
			before = line
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d ignored findings, %v", found, err)
	}
}
