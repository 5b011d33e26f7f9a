package intake_test

import (
	"path/filepath"
	"testing"

	"sluice/internal/feed"
	"sluice/internal/golden"
	"sluice/internal/intake"
)

//go:generate go test . -run TestAPIPages -update

// The committed descriptions of the API match its routes.
func TestAPIPages(t *testing.T) {
	t.Parallel()
	d := intake.New(intake.Options{Acceptor: nothing{}, Reader: nothing{}, More: feed.New(feed.Options{}).Routes()}).Document()
	docs := filepath.Join("..", "..", "docs")
	golden.File(t, filepath.Join(docs, "openapi.json"), d.OpenAPI())
	golden.File(t, filepath.Join(docs, "postman.json"), d.Postman())
	golden.File(t, filepath.Join(docs, "api.md"), d.Markdown())
}
