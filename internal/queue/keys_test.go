package queue

import (
	"testing"
)

func TestParseTaskID(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{"a.1": true, TaskID{"106-abc", 12}.String(): true, "a": false, "a.": false, "a.x": false, "": false, "a.1.2": false} {
		if _, got := ParseTaskID(s); got != ok {
			t.Errorf("%q is a task of ours: %t, want %t", s, got, ok)
		}
	}
}
