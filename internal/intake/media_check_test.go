package intake_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestCheckMedia: the answer has type and size of the file, or what is wrong with the link and the fix.
func TestCheckMedia(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct {
		kind, link string
		status     int
		want       string
	}{
		"good":         {"image", "https://a/good", 200, `{"content_type":"image/x","bytes":7}`},
		"unknown kind": {"gif", "https://a/good", 422, `"path":"type","code":"media_kind_unknown"`},
		"unreachable":  {"image", "https://a/404", 422, `"path":"link","code":"media_unreachable","detail":"It is wrong.","fix":"Give a public link`},
		"wrong type":   {"image", "https://a/zip", 422, `"code":"media_type_wrong"`},
		"too large":    {"image", "https://a/big", 422, `"code":"media_too_large"`},
		"busy":         {"image", "https://a/busy", 429, `"code":"media_check_busy"`},
	} {
		r := b.do(t, http.MethodPost, "/v1/media/check", fmt.Sprintf(`{"type":%q,"link":%q}`, c.kind, c.link), nil)
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := b.do(t, http.MethodPost, "/v1/media/check", `{"type":"image","link":"https://a/good"}`, withHeader("Authorization", "Bearer "+b.readOnly)); r.status != http.StatusForbidden {
		t.Errorf("without the scope: %d %s", r.status, r.body)
	}
}
