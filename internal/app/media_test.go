package app_test

import (
	"testing"

	"sluice/internal/redistest"
)

// TestCheckMedia: a producer requests no file within its own network.
func TestCheckMedia(t *testing.T) {
	t.Parallel()
	p := startProducer(t, redistest.Start(t).URL(), "a payload key 0123456789")
	for _, link := range []string{"http://169.254.169.254/latest/meta-data", "http://[::1]:6379/", "http://127.0.0.1/a.png", "http://redis.internal/a.png"} {
		answer := call(t, "POST", "http://"+p.Addr()+"/v1/media/check", `{"type":"image","link":"`+link+`"}`, 422)
		if answer["code"] != "link_host_forbidden" {
			t.Errorf("%s: %v", link, answer)
		}
	}
}
