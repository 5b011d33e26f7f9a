package deploytest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/golden"
)

//go:generate go test . -run TestNotice -update

// licences are those that a dependency of a program may have, each with a phrase that only its text has.
var licences = []struct{ name, phrase string }{
	{"Apache-2.0", "Licensed under the Apache License, Version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"BSD", "Redistribution and use in source and binary forms, with or without modification, are permitted"},
	{"0BSD", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted."},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided"},
	{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted, provided"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"BSL-1.0", "Boost Software License - Version 1.0"},
	{"Unlicense", "This is free and unencumbered software released into the public domain."},
}

// licenceFile matches the names of files with a licence or a notice.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice)(\.(txt|md))?$`)

// licencesIn returns the licences that a text has.
func licencesIn(text string) (names []string) {
	text = strings.Join(strings.Fields(text), " ")
	for _, l := range licences {
		if strings.Contains(text, l.phrase) {
			names = append(names, l.name)
		}
	}
	return names
}

// part is something that is built into the programs.
type part struct {
	name  string
	texts []string // of its licences and notices
}

// TestNotice checks that the licence of each module that is built into the programs, and of the scripts of the console,
// is one that we may distribute, and that NOTICE has the texts that these licences ask for.
func TestNotice(t *testing.T) {
	parts := append(modules(t), scripts(t)...)
	users := map[string][]string{} // by text, the parts that have it
	var list []string
	for _, p := range parts {
		var names []string
		for _, text := range p.texts {
			names = append(names, licencesIn(text)...)
			if !slices.Equal(licencesIn(text), []string{"Apache-2.0"}) { // its text is in LICENSE
				users[text] = append(users[text], p.name)
			}
		}
		slices.Sort(names)
		if len(names) == 0 {
			t.Errorf("%s has no licence. Replace it.", p.name)
		}
		list = append(list, fmt.Sprintf("%s: %s\n", p.name, strings.Join(slices.Compact(names), " and ")))
	}
	var b strings.Builder
	b.WriteString("Sluice\nCopyright The Sluice authors\n\nThe programs of Sluice contain the parts below. The texts that their licences and notices ask for follow.\n" +
		"The text of Apache-2.0 is in LICENSE. `make docs` writes this file.\n\n")
	b.WriteString(strings.Join(list, ""))
	for _, text := range slices.SortedFunc(maps.Keys(users), func(a, b string) int {
		return cmp.Or(slices.Compare(users[a], users[b]), strings.Compare(a, b))
	}) {
		fmt.Fprintf(&b, "\n%s\n%s:\n\n%s\n", strings.Repeat("-", 80), strings.Join(users[text], "\n"), text)
	}
	golden.File(t, filepath.Join(root, "NOTICE"), []byte(b.String()))
}

// A licence that is not in the table is none.
func TestLicences(t *testing.T) {
	for text, want := range map[string][]string{
		"GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007":                                                     nil,
		"Permission is hereby granted, free of charge, to any person\n  obtaining a copy of this software":       {"MIT"},
		"Licensed under the Apache License,\nVersion 2.0, and Redistribution and use in source and binary forms": {"Apache-2.0"},
		read(t, "LICENSE"): {"Apache-2.0"},
	} {
		if got := licencesIn(text); !slices.Equal(got, want) {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

// modules returns the modules that are built into the programs, with the texts in the directories of their packages, and
// Go's standard library, whose licence is that of golang.org/x.
func modules(t *testing.T) []part {
	t.Helper()
	type dependency struct {
		Dir    string
		Module *struct {
			Path, Dir string
			Main      bool
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Dir,Module", root+"/cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]string{}
	read := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p dependency
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		for dir := p.Dir; strings.HasPrefix(dir, p.Module.Dir) && !read[dir]; dir = filepath.Dir(dir) {
			read[dir] = true
			texts[p.Module.Path] = append(texts[p.Module.Path], textsIn(t, dir, licenceFile)...)
		}
	}
	parts := []part{{"Go's standard library", texts["golang.org/x/sys"]}}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		slices.Sort(texts[name])
		parts = append(parts, part{name, slices.Compact(texts[name])})
	}
	return parts
}

// scripts returns the scripts of others in the console's pages.
func scripts(t *testing.T) (parts []part) {
	t.Helper()
	dir := filepath.Join(root, "internal/pages/static/lib")
	files, err := filepath.Glob(filepath.Join(dir, "*.LICENSE"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no licences in %s: %v", dir, err)
	}
	for _, f := range files {
		name := filepath.Base(f)
		parts = append(parts, part{
			strings.TrimSuffix(name, ".LICENSE") + ", a script of the console",
			textsIn(t, dir, regexp.MustCompile("^"+regexp.QuoteMeta(name)+"$")),
		})
	}
	return parts
}

// textsIn returns the texts of the files in a directory whose names match. A licence must be in the table.
func textsIn(t *testing.T, dir string, name *regexp.Regexp) (texts []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name.MatchString(e.Name()) && !e.IsDir() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(strings.ToLower(e.Name()), "notice") && licencesIn(string(b)) == nil {
				t.Errorf("%s/%s is not a licence of the table. Replace the module, or add the licence after a decision.", dir, e.Name())
			}
			texts = append(texts, strings.TrimSpace(strings.ReplaceAll(string(b), "\r", "")))
		}
	}
	return texts
}
