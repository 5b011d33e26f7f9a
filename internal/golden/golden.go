// Package golden compares what the code makes with what is committed: generated pages and
// golden files. With -update, which make docs passes, it writes them anew.
package golden

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write generated pages and golden files anew")

// File fails the test unless the file at path holds got.
func File(t testing.TB, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make docs writes it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code makes; make docs writes it anew: look at the difference", path)
	}
}
