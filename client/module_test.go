package client_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOtherModule: a program in another module imports the client as README.md says, without a network and without the
// modules that Sluice itself needs.
func TestOtherModule(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const lines = "require sluice v0.0.0\n\nreplace sluice => /path/to/sluice\n"
	if !strings.Contains(string(page), lines) {
		t.Fatalf("README.md does not have the lines\n%s", lines)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/shop\n\ngo 1.26.0\n\n" + strings.ReplaceAll(lines, "/path/to/sluice", root),
		"main.go": `package main

import (
	"fmt"

	"sluice/client"
)

func main() { fmt.Print(client.New("http://127.0.0.1:8080", "key")) }
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.Command("go", "run", ".")
	run.Dir = dir
	run.Env = append(os.Environ(), "CGO_ENABLED=0", "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOMODCACHE="+filepath.Join(dir, "empty"))
	out, err := run.CombinedOutput()
	if err != nil || string(out) != "http://127.0.0.1:8080" {
		t.Errorf("%v\n%s", err, out)
	}
}
