package cloudapi

import "time"

// versionEnds are the days on which Meta ends versions of the Graph API, as announced until 22 November 2026; empty: not announced.
// https://developers.facebook.com/docs/graph-api/changelog/versions
var versionEnds = map[string]string{
	"v20.0": "2026-09-24", "v21.0": "2027-01-21", "v22.0": "2027-05-20", "v23.0": "2027-10-08",
	"v24.0": "2028-02-18", "v25.0": "2028-07-29", "v26.0": "", "v27.0": "",
}

// VersionEnd returns when Meta ends a version of the Graph API; zero: Meta has not announced it, or the version is not known here.
// Meta serves later calls by the oldest version that it still has.
func VersionEnd(version string) time.Time {
	end, _ := time.Parse(time.DateOnly, versionEnds[version])
	return end
}
