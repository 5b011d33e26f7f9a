// Package version knows which version of Sluice this program is.
package version

import (
	"cmp"
	"fmt"
	"regexp"
	"runtime/debug"
)

// The build of an image sets these with -ldflags -X (see Dockerfile), because it has no git repository. What is empty
// comes from what the Go command recorded.
var number, commit, date string

// Info says from what a program was built. A part that was not recorded is "unknown".
type Info struct {
	Version string // of the release, "v1.2.3"; between releases as Go names it
	Commit  string // hash of the git commit
	Date    string // of the commit, in RFC 3339
}

// Current returns the Info of this program.
func Current() Info {
	build, _ := debug.ReadBuildInfo()
	return resolve(Info{number, commit, date}, build)
}

// resolve fills what is empty in stamped from build, which may be nil.
func resolve(stamped Info, build *debug.BuildInfo) Info {
	var recorded Info
	if build != nil {
		recorded.Version = build.Main.Version
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				recorded.Commit = s.Value
			case "vcs.time":
				recorded.Date = s.Value
			}
		}
	}
	return Info{
		Version: cmp.Or(stamped.Version, recorded.Version, "unknown"),
		Commit:  cmp.Or(stamped.Commit, recorded.Commit, "unknown"),
		Date:    cmp.Or(stamped.Date, recorded.Date, "unknown"),
	}
}

// String returns all parts in one line.
func (i Info) String() string {
	return fmt.Sprintf("%s (commit %s, %s)", i.Version, i.Commit, i.Date)
}

// semantic matches the beginning of a version: "v1.2.3", and the time in the version of a build without a tag.
var semantic = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?)`)

// UserAgent is the header User-Agent of HTTP requests to others: "sluice/<version>". The version is 0.0.0 if it is not
// known.
var UserAgent = Current().userAgent()

func (i Info) userAgent() string {
	if found := semantic.FindStringSubmatch(i.Version); found != nil {
		return "sluice/" + found[1]
	}
	return "sluice/0.0.0"
}
