package intake_test

import (
	"path/filepath"
	"testing"

	"sluice/internal/feed"
	"sluice/internal/golden"
	"sluice/internal/intake"
	"sluice/internal/schedules"
)

//go:generate go test . -run TestAPIPages -update

// The committed descriptions of the API match its routes.
func TestAPIPages(t *testing.T) {
	t.Parallel()
	more := append(feed.New(feed.Options{}).Routes(), schedules.New(schedules.Options{}).Routes()...)
	d := intake.New(intake.Options{Acceptor: nothing{}, Reader: nothing{}, More: more}).Document()
	docs := filepath.Join("..", "..", "docs")
	golden.File(t, filepath.Join(docs, "openapi.json"), d.OpenAPI())
	golden.File(t, filepath.Join(docs, "postman.json"), d.Postman())
	golden.File(t, filepath.Join(docs, "api.md"), d.Markdown())
}
