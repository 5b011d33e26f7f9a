package main

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

// TestBill reads the bill of this test, which is a program too.
func TestBill(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{program, "v1.2.3"}, &out); err != nil {
		t.Fatal(err)
	}
	var b cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&out, cyclonedx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	if c := b.Metadata.Component; c.Name != "sluice" || c.Version != "v1.2.3" || c.PackageURL != "" {
		t.Errorf("the program is %+v", c)
	}
	for _, name := range []string{"std", "github.com/CycloneDX/cyclonedx-go"} {
		i := slices.IndexFunc(*b.Components, func(c cyclonedx.Component) bool { return c.Name == name })
		if i < 0 {
			t.Errorf("%s is missing", name)
			continue
		}
		if c := (*b.Components)[i]; c.Version == "" || c.PackageURL != "pkg:golang/"+name+"@"+c.Version || c.BOMRef != (*(*b.Dependencies)[0].Dependencies)[i] {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if err := run([]string{os.DevNull, "v1.2.3"}, &out); err == nil {
		t.Error("a file that is no Go program has a bill")
	}
}
