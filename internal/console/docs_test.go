package console_test

import (
	"path/filepath"
	"testing"

	"sluice/internal/console"
	"sluice/internal/golden"
)

//go:generate go test . -run TestConsolePages -update

// The committed descriptions of the console are those of its routes.
func TestConsolePages(t *testing.T) {
	t.Parallel()
	d := console.New(console.Options{}).Document()
	docs := filepath.Join("..", "..", "docs")
	golden.File(t, filepath.Join(docs, "console-openapi.json"), d.OpenAPI())
	golden.File(t, filepath.Join(docs, "console-api.md"), d.Markdown())
}
