package content_test

import (
	"testing"

	"sluice/internal/content"
)

// TestPortable: a message that names another message or a media id stays with its number.
func TestPortable(t *testing.T) {
	t.Parallel()
	const header = `{"to":"+16505551234","type":"template","template":{"name":"sale","components":[{"type":"header","parameters":[{"type":"image","image":`
	for payload, want := range map[string]bool{
		`{"type":"template","template":{"name":"sale"}}`:                               true,
		`c2lnbmF0dXJl{"type":"template","template":{"name":"sale"}}`:                   true,
		header + `{"link":"https://example.com/a.png"}}]}]}}`:                          true,
		header + `{"id":"1013859600285441"}}]}]}}`:                                     false,
		`{"type":"template","context":{"message_id":"wamid.A"},"template":{"name":1}}`: false,
		`not JSON`: false,
	} {
		if got := content.Portable(payload); got != want {
			t.Errorf("%s: %t", payload, got)
		}
	}
}
