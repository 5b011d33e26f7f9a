package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// page is the list for readers, which is not searched for citations itself.
const page = "docs/meta-sources.md"

var (
	sources  = []string{"README.md", "client", "cmd", "deploy", "docs", "examples", "internal"}
	citation = regexp.MustCompile(`https://developers\.facebook\.com/(?:docs|documentation)/[\w/.-]*[\w]`)
)

// cited returns the pages of Meta's documentation that code and docs name, each with the files that name it, in their order.
// Tests and their data do not count: what they contain may be an answer of Meta and not a source.
func cited(repository fs.FS) (map[string][]string, error) {
	all := map[string][]string{}
	for _, source := range sources {
		err := fs.WalkDir(repository, source, func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules"):
				return fs.SkipDir
			case d.IsDir() || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, ".json") || file == page:
				return nil
			}
			b, err := fs.ReadFile(repository, file)
			if err != nil {
				return err
			}
			for _, url := range citation.FindAllString(string(b), -1) {
				if !slices.Contains(all[url], file) {
					all[url] = append(all[url], file)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

const head = `# Pages of Meta

<!-- Made from the links in code and docs by: make docs -->

What Sluice knows about Meta's platform, it has from these pages of Meta's documentation. The second column says where each one is cited: the facts to
check when Meta changes the page. Error codes and their meaning are in [errors.md](errors.md), and limits in [concepts.md](concepts.md#three-limits).

` + "`make meta-check`" + ` fetches the pages and names those whose text changed since they were last read (` + "`" + seenFile + "`" + `). It needs access to
developers.facebook.com, so CI does not run it. Read the changed pages, correct what is cited here, then run ` + "`make meta-check ACCEPT=1`" + ` and commit.

| page of developers.facebook.com | cited in |
| --- | --- |
`

// render returns docs/meta-sources.md.
func render(cited map[string][]string) []byte {
	var b strings.Builder
	b.WriteString(head)
	for _, url := range slices.Sorted(maps.Keys(cited)) {
		var files []string
		for _, file := range cited[url] {
			link := "../" + file
			if path.Dir(file) == "docs" {
				link = path.Base(file)
			} else if in, ok := strings.CutPrefix(file, "docs/"); ok {
				link = in
			}
			files = append(files, fmt.Sprintf("[%s](%s)", file, link))
		}
		fmt.Fprintf(&b, "| [%s](%s) | %s |\n", strings.TrimPrefix(url, "https://developers.facebook.com/"), url, strings.Join(files, ", "))
	}
	return []byte(b.String())
}

// pages returns the addresses of the cited pages of the repository in the working directory.
func pages() ([]string, error) {
	all, err := cited(os.DirFS("."))
	return slices.Sorted(maps.Keys(all)), err
}
