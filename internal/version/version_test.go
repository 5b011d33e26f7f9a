package version

import (
	"runtime/debug"
	"testing"
)

func TestResolve(t *testing.T) {
	git := &debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20260101120000-abcdef012345"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abcdef0123456789"}, {Key: "vcs.time", Value: "2026-01-01T12:00:00Z"},
	}}
	recorded := Info{"v0.0.0-20260101120000-abcdef012345", "abcdef0123456789", "2026-01-01T12:00:00Z"}
	release := Info{"v1.2.3", "feed", "2026-02-02T00:00:00Z"}
	for name, c := range map[string]struct {
		stamped Info
		build   *debug.BuildInfo
		want    Info
	}{
		"a release":                 {release, git, release},
		"the Go command knows":      {Info{}, git, recorded},
		"a release without a date":  {Info{Version: "v1.2.3"}, git, Info{"v1.2.3", recorded.Commit, recorded.Date}},
		"without a git repository":  {Info{}, &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, Info{"(devel)", "unknown", "unknown"}},
		"nothing has been recorded": {Info{}, nil, Info{"unknown", "unknown", "unknown"}},
	} {
		if got := resolve(c.stamped, c.build); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got, want := release.String(), "v1.2.3 (commit feed, 2026-02-02T00:00:00Z)"; got != want {
		t.Errorf("String: %q, want %q", got, want)
	}
}

func TestUserAgent(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3":      "sluice/1.2.3",
		"1.2.3":       "sluice/1.2.3",
		"v1.2.3-rc.1": "sluice/1.2.3-rc.1",
		"v0.0.0-20260101120000-abcdef012345+dirty": "sluice/0.0.0-20260101120000-abcdef012345",
		"(devel)":        "sluice/0.0.0",
		"v1.2.3\r\nX: y": "sluice/1.2.3",
	} {
		if got := (Info{Version: version}).userAgent(); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}
