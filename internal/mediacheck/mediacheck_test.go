package mediacheck_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/mediacheck"
	"sluice/internal/message"
	"sluice/internal/publicnet"
)

// TestCheck: type and size of a file as Meta needs them, over redirects, and what is wrong otherwise. No link, redirect or name leads into a private
// network.
func TestCheck(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	file := func(path, kind string, size int, said bool) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			if said {
				w.Header().Set("Content-Length", strconv.Itoa(size))
				w.WriteHeader(http.StatusOK)
				return // the checker reads no body
			}
			w.(http.Flusher).Flush()
			w.Write(make([]byte, size))
		})
	}
	file("/a.jpg", "image/jpeg", 5<<20, true)
	file("/large.jpg", "image/jpeg", 5<<20+1, true)
	file("/unsaid.jpg", "image/jpeg", 1000, false)
	file("/unsaid-large.jpg", "image/jpeg", 5<<20+1, false)
	file("/a.webp", "image/webp", 10, true)
	file("/a.ogg", "audio/ogg; codecs=opus", 10, true)
	file("/a.zip", "application/zip", 90<<20, true)
	file("/none", "", 10, true)
	redirect := func(path, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	redirect("/moved", "http://other.example.com/a.jpg")
	redirect("/loop", "/loop")
	redirect("/metadata", "http://169.254.169.254/latest/meta-data")
	redirect("/local", "http://localhost/")
	redirect("/rebound", "http://rebound.example.com/a.jpg")
	redirect("/file", "file:///etc/passwd")
	srv := httptest.NewServer(mux)
	defer srv.Close()
	at := srv.Listener.Addr().String()
	c := mediacheck.New(mediacheck.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		switch addr {
		case "media.example.com:80", "other.example.com:80":
			return new(net.Dialer).DialContext(ctx, network, at)
		case "rebound.example.com:80": // a name with a private address
			return publicnet.Dialer{}.DialContext(ctx, network, at)
		}
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}})
	const host = "http://media.example.com"
	for name, tt := range map[string]struct {
		kind, link string
		code, says string
		bytes      int64
	}{
		"image":                      {"image", host + "/a.jpg", "", "", 5 << 20},
		"redirected":                 {"image", host + "/moved", "", "", 5 << 20},
		"the size is not said":       {"image", host + "/unsaid.jpg", "", "", 1000},
		"audio with parameters":      {"audio", host + "/a.ogg", "", "", 10},
		"any document":               {"document", host + "/a.zip", "", "", 90 << 20},
		"too large":                  {"image", host + "/large.jpg", message.MediaTooLarge, "5242880", 5<<20 + 1},
		"too large, and not said":    {"image", host + "/unsaid-large.jpg", message.MediaTooLarge, "5242880", 5<<20 + 1},
		"another type":               {"image", host + "/a.webp", message.MediaTypeWrong, "image/jpeg, image/png", 10},
		"no type":                    {"image", host + "/none", message.MediaTypeWrong, "without a Content-Type", 10},
		"not found":                  {"image", host + "/b.jpg", message.MediaUnreachable, "404", 0},
		"no such host":               {"image", "http://nowhere.example.com/a.jpg", message.MediaUnreachable, "does not exist", 0},
		"a loop":                     {"image", host + "/loop", message.MediaUnreachable, "redirects more than", 0},
		"redirected to metadata":     {"image", host + "/metadata", message.MediaUnreachable, "public internet", 0},
		"redirected to this machine": {"image", host + "/local", message.MediaUnreachable, "public internet", 0},
		"redirected to a file":       {"image", host + "/file", message.MediaUnreachable, "public internet", 0},
		"a name with a private address": {
			"image", host + "/rebound", message.MediaUnreachable, "public internet", 0,
		},
		"metadata":  {"image", "http://169.254.169.254/latest", "link_host_forbidden", "", 0},
		"no scheme": {"image", "media.example.com/a.jpg", "link_scheme", "", 0},
	} {
		f, problems, err := c.Check(t.Context(), tt.kind, tt.link)
		if err != nil || f.Bytes != tt.bytes {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
		if tt.code == "" && len(problems) > 0 || tt.code != "" && (len(problems) != 1 || problems[0].Code != tt.code || problems[0].Path != "link" || !strings.Contains(problems[0].Detail, tt.says)) {
			t.Errorf("%s: %+v", name, problems)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Check(ended, "image", host+"/a.jpg"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
