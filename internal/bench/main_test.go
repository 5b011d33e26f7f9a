package bench

import (
	"os"
	"testing"
)

// TestMain makes this executable what a run starts its parts with.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == PartCommand {
		os.Exit(Part(os.Args[2:]))
	}
	os.Exit(m.Run())
}
