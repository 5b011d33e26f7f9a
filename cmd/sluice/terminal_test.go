package main

import (
	"os"
	"testing"
)

// TestTerminal: a device that is no terminal, such as /dev/null of a cron job, gets one table, not a screen.
func TestTerminal(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if terminal(null) {
		t.Error(os.DevNull + " is taken for a terminal")
	}
	if got := rows(null, 40); got != 40 {
		t.Errorf("rows without a terminal: %d, want the limit", got)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ limit, height, want int }{
		{40, 100, 40}, {40, 24, 17}, {0, 24, 17}, {40, 3, 1}, {10, 17, 10}, {11, 17, 10},
	} {
		if got := fit(c.limit, c.height); got != c.want {
			t.Errorf("fit(%d, %d) = %d, want %d", c.limit, c.height, got, c.want)
		}
	}
}
