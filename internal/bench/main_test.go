package bench

import (
	"os"
	"testing"

	"sluice/internal/rig"
)

// TestMain makes this executable able to run the parts of a run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == rig.Command {
		os.Exit(rig.Run(os.Args[2:], Parts))
	}
	os.Exit(m.Run())
}
