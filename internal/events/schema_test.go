package events_test

import (
	"path/filepath"
	"testing"

	"sluice/internal/golden"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

//go:generate go test . -run TestEventSchema -update

// docs/events.schema.json describes message.Event. A test of e2e validates real events with it.
func TestEventSchema(t *testing.T) {
	t.Parallel()
	golden.File(t, filepath.Join("..", "..", "docs", "events.schema.json"),
		httpapi.JSONSchema("urn:sluice:event:1", "An event of Sluice, version 1", message.Event{}))
}
