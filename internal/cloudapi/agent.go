package cloudapi

import (
	"regexp"
	"runtime/debug"
)

// UserAgent is the header User-Agent of all calls: "sluice/<version>".
var UserAgent = "sluice/" + version()

// semantic matches the beginning of a version: "v1.2.3", and the time in the version of a build without a tag.
var semantic = regexp.MustCompile(`^v([0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?)`)

// version returns the version of this program, as the Go command recorded it; "0.0.0" if it recorded none.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if found := semantic.FindStringSubmatch(info.Main.Version); found != nil {
			return found[1]
		}
	}
	return "0.0.0"
}
