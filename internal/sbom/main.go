// Sbom writes the bill of materials of a Go program, from what the Go command recorded in it, in the form of CycloneDX:
// the module of the program, the modules that are built into it, and Go's standard library.
//
//	go run ./internal/sbom bin/sluice > sbom.cdx.json
package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// run writes the bill of the program args[0], of the version args[1], to w.
func run(args []string, w io.Writer) error {
	if len(args) != 2 {
		return errors.New("the arguments are the file of a program and its version")
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bill(info, args[1]), cyclonedx.SpecVersion1_6)
}

func bill(info *debug.BuildInfo, version string) *cyclonedx.BOM {
	program := component(cyclonedx.ComponentTypeApplication, info.Main.Path, version)
	program.PackageURL = "" // it is in no registry
	components := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		components = append(components, component(cyclonedx.ComponentTypeLibrary, m.Path, m.Version))
	}
	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	b := cyclonedx.NewBOM()
	b.Metadata = &cyclonedx.Metadata{Component: &program}
	b.Components = &components
	b.Dependencies = &[]cyclonedx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	return b
}

// component returns a module as a component. Its package URL is that by which databases of known holes find it.
func component(kind cyclonedx.ComponentType, path, version string) cyclonedx.Component {
	url := "pkg:golang/" + path + "@" + version
	return cyclonedx.Component{Type: kind, Name: path, Version: version, BOMRef: url, PackageURL: url}
}
