package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/importer"
)

// TestProgress: a long import says how far it is: in a line now and then, or in a bar that other messages do not mix with.
func TestProgress(t *testing.T) {
	t.Parallel()
	half := importer.Progress{Line: 500, Accepted: 5, Read: 500, Size: 1000, RowsPerSecond: 10, Left: 80 * time.Second}
	pipe := importer.Progress{Line: 500, Accepted: 5, Read: 500, RowsPerSecond: 10}
	for name, c := range map[string]struct {
		bar  bool
		at   importer.Progress
		want string
	}{
		"lines":     {false, half, "line 500: 5 accepted, 0 accepted before, 0 refused so far, 50 %, 10 rows/s, 1m20s left\nhello\n"},
		"a pipe":    {false, pipe, "line 500: 5 accepted, 0 accepted before, 0 refused so far, 10 rows/s\nhello\n"},
		"a bar":     {true, half, "\r[##########----------] 50 %, 10 rows/s, 1m20s left, 5 accepted, 0 accepted befo\x1b[K\r\x1b[Khello\n"},
		"no result": {true, importer.Progress{Size: 1000}, "hello\n"},
	} {
		var out strings.Builder
		p := progress{out: &out, bar: c.bar}
		p.show(c.at)
		fmt.Fprintln(&p, "hello")
		if got := out.String(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
