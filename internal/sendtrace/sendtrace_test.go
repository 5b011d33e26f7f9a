package sendtrace_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/sendtrace"
)

// TestTrace: the file has a line for each request and each task, and is whole after Run.
func TestTrace(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "trace")
	trace, err := sendtrace.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	trace.Wrote("106540352242922", time.Unix(0, 17))
	trace.Fetched()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := trace.Run(ctx); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(got), "\n")
	if len(lines) != 3 || lines[0] != "17 w 106540352242922" || !strings.HasSuffix(lines[1], " t -") {
		t.Errorf("%q", got)
	}
}

// TestNoTrace: without a file name nothing is written.
func TestNoTrace(t *testing.T) {
	t.Parallel()
	trace, err := sendtrace.Open("")
	if trace != nil || err != nil {
		t.Fatal(trace, err)
	}
	trace.Wrote("1", time.Now())
	trace.Fetched()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := trace.Run(ctx); err != nil {
		t.Error(err)
	}
	if trace, err := sendtrace.Open(filepath.Join(t.TempDir(), "no", "trace")); trace != nil || err == nil {
		t.Errorf("in a directory that does not exist: %v, %v", trace, err)
	}
}
