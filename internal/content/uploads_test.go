package content_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/content"
)

// Only media objects name files by their hashes. Texts and ids of buttons that look like it stay as they are.
func TestUploads(t *testing.T) {
	t.Parallel()
	a, b := strings.Repeat("a", 64), strings.Repeat("0", 64)
	for payload, want := range map[string]string{
		`{"type":"image","image":{"id":"sha256:` + a + `","caption":"x"}}`: `{"type":"image","image":{"id":"7","caption":"x"}}`,
		`{"template":{"components":[{"parameters":[{"type":"video","video":{"id":"sha256:` + b + `"}},{"document":{"id":"sha256:` + a + `"}},{"image":{"id":"sha256:` + a + `"}}]}]}}`: `{"template":{"components":[{"parameters":[{"type":"video","video":{"id":"8"}},{"document":{"id":"7"}},{"image":{"id":"7"}}]}]}}`,
		`{"interactive":{"action":{"buttons":[{"reply":{"id":"sha256:` + a + `"}}]}}}`:                                                                                                 ``,
		`{"text":{"body":"\"id\":\"sha256:` + a + `\""}}`:                                                                                                                              ``,
		`{"image":{"id":"sha256:abc"}}`: ``,
		`{"image":{"id":"123"}}`:        ``,
	} {
		hashes := content.Uploads([]byte(payload))
		if (len(hashes) > 0) != (want != "") || want == "" {
			if len(hashes) > 0 {
				t.Errorf("%s: %q", payload, hashes)
			}
			continue
		}
		if got := string(content.UseUploads([]byte(payload), map[string]string{a: "7", b: "8"})); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	if got := fmt.Sprint(content.Uploads([]byte(`{"image":{"id":"sha256:` + a + `"},"header":{"image":{"id":"sha256:` + a + `"}}}`))); got != "["+a+"]" {
		t.Errorf("a hash twice: %s", got)
	}
}
