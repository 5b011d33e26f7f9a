package architecture

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows returns the cells of every table row of a page whose first cell is code.
func rows(page string) (all [][]string) {
	for line := range strings.Lines(page) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| `") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all = append(all, cells)
		}
	}
	return all
}

func TestArchitecturePageShowsPackages(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(page(t, "docs/architecture.md"), "\n## Packages\n")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := map[string]string{}
	for _, r := range rows(section) {
		shown[strings.Trim(r[0], "`")] = strings.ReplaceAll(r[2], "`", "")
	}
	for _, r := range packages {
		if may, ok := shown[r.name]; !ok || may != r.imports {
			t.Errorf("docs/architecture.md says that %s may import %q (there: %v), the test says %q", r.name, may, ok, r.imports)
		}
		delete(shown, r.name)
	}
	for name := range shown {
		t.Errorf("docs/architecture.md lists %s, the test does not", name)
	}
}

// TestArchitecturePageSaysWhyEachDependency: each module that go.mod requires directly has its reason.
func TestArchitecturePageSaysWhyEachDependency(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(page(t, "docs/architecture.md"), "\n## Dependencies\n")
	section, _, _ = strings.Cut(section, "\nLibraries that")
	why := map[string]string{}
	for _, r := range rows(section) {
		why[strings.Trim(r[0], "`")] = r[1]
	}
	_, direct, _ := strings.Cut(page(t, "go.mod"), "\nrequire (\n")
	direct, _, _ = strings.Cut(direct, "\n)")
	for line := range strings.Lines(direct) {
		module, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if why[module] == "" {
			t.Errorf("docs/architecture.md does not say why go.mod requires %s", module)
		}
		delete(why, module)
	}
	for module := range why {
		t.Errorf("docs/architecture.md lists %s, which go.mod does not require directly", module)
	}
}

func TestMessageLifePageShowsStates(t *testing.T) {
	t.Parallel()
	p := page(t, "docs/message-life.md")
	ranks := map[string]string{}
	for _, r := range rows(p) {
		if len(r) == 5 {
			ranks[r[0]] = r[1]
		}
	}
	for _, s := range message.States() {
		if got := ranks["`"+string(s)+"`"]; got != strconv.Itoa(s.Rank("")) {
			t.Errorf("the page gives %s the rank %q, it is %d", s, got, s.Rank(""))
		}
		if s != message.Cancelled && !regexp.MustCompile(`(?m)^    \S+ --> `+string(s)+`\b`).MatchString(p) {
			t.Errorf("no arrow of the picture leads to %s", s)
		}
		final := s.Final() && !strings.Contains(finals(p), "`"+string(s)+"`")
		if open := !s.Final() && strings.Contains(finals(p), "`"+string(s)+"`"); final || open {
			t.Errorf("the page's list of final states is wrong about %s", s)
		}
	}
	closed := "`failed`, reason `undetermined`"
	if got := ranks[closed]; got != strconv.Itoa(message.Failed.Rank(message.ReasonUndetermined)) {
		t.Errorf("the page gives %s the rank %q", closed, got)
	}
	for _, k := range message.Kinds() {
		if !strings.Contains(p, "| `"+string(k)+"` |") {
			t.Errorf("the page does not tell of the outcome %s", k)
		}
	}
}

// finals is the sentence of the page that lists the final states.
func finals(page string) string {
	_, rest, _ := strings.Cut(page, "\nFinal are ")
	list, _, _ := strings.Cut(rest, ":")
	return list
}

func TestMessageLifePageShowsPolicies(t *testing.T) {
	t.Parallel()
	shown := map[string][]string{}
	for _, r := range rows(page(t, "docs/message-life.md")) {
		shown[strings.Trim(r[0], "`")] = r
	}
	for _, c := range message.Classes() {
		p, r := message.DefaultPolicy(c), shown[string(c)]
		if len(r) != 5 {
			t.Errorf("the page does not tell how %s is treated", c)
			continue
		}
		for i, want := range map[int]time.Duration{1: p.Deadline, 2: p.InDoubtWindow, 4: p.ErrorWindow} {
			if got, err := time.ParseDuration(r[i]); err != nil || got != want {
				t.Errorf("%s: the page says %q, the default is %s", c, r[i], want)
			}
		}
		if r[3] != "`"+string(p.InDoubtPolicy)+"`" {
			t.Errorf("%s: the page says %s, the default is %s", c, r[3], p.InDoubtPolicy)
		}
	}
}

// pages are the pages of the repository.
var pages = func() (all []string) {
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/runbooks/*.md", "examples/*.md", "examples/*/*.md"} {
		found, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil || len(found) == 0 {
			panic(fmt.Sprint("no pages: ", pattern, " ", err))
		}
		all = append(all, found...)
	}
	return all
}()

// A page that says which test holds a sentence must not outlive the test.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	there := tests(t)
	name := regexp.MustCompile("`(Test[A-Z]\\w*)`")
	found := 0
	for _, p := range pages {
		for _, m := range name.FindAllStringSubmatch(page(t, p), -1) {
			found++
			if !there[m[1]] {
				t.Errorf("%s names %s, and there is no such test", p, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no page names a test")
	}
}

// TestNamedIdentifiersExist: a page that names an identifier of a package, such as `ledger.Begin`, names one that its
// code declares.
func TestNamedIdentifiersExist(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile("`([a-z]+)((?:\\.[A-Z]\\w*)+)(?:\\(\\))?`")
	found := 0
	for _, p := range []string{"docs/architecture.md", "docs/reliability.md"} {
		for _, m := range name.FindAllStringSubmatch(page(t, p), -1) {
			files, err := filepath.Glob(filepath.Join(root, "internal", m[1], "*.go"))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 {
				continue // not one of our packages
			}
			var code strings.Builder
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				code.Write(b)
			}
			for id := range strings.SplitSeq(strings.TrimPrefix(m[2], "."), ".") {
				found++
				if !regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |\t)` + id + `\b`).MatchString(code.String()) {
					t.Errorf("%s names %s%s, and %s declares no %s", p, m[1], m[2], m[1], id)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page names an identifier")
	}
}

// tests returns the names of all tests.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	decl := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		b, err := os.ReadFile(p)
		for _, m := range decl.FindAllSubmatch(b, -1) {
			all[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	of := map[string][]string{} // the anchors of a page
	for _, p := range pages {
		of[p] = anchors(page(t, p))
	}
	for _, p := range pages {
		for _, m := range link.FindAllStringSubmatch(page(t, p), -1) {
			to := p
			if m[1] != "" {
				to = path.Join(path.Dir(p), m[1])
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s: %v", p, m[1], err)
			} else if m[2] != "" && !slices.Contains(of[to], m[2]) {
				t.Errorf("%s links to %s#%s, and there is no such heading", p, m[1], m[2])
			}
		}
	}
}

// TestEachPageIsInTheNavigation: the lists of docs/README.md, which are the navigation of the site too, have each page of docs/ once.
func TestEachPageIsInTheNavigation(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^- \[[^\]]+\]\(([\w-]+\.md)\): `).FindAllStringSubmatch(page(t, "docs/README.md"), -1) {
		listed = append(listed, "docs/"+m[1])
	}
	slices.Sort(listed)
	want := slices.DeleteFunc(slices.Clone(pages), func(p string) bool { return path.Dir(p) != "docs" || p == "docs/README.md" })
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("docs/README.md lists\n%q\nand the pages are\n%q", listed, want)
	}
}

var (
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
	inAnchor   = regexp.MustCompile(`[^\p{L}\p{N}_ -]+`)
	codeBlocks = regexp.MustCompile("(?s)```.*?```")
)

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(page string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(codeBlocks.ReplaceAllString(page, ""), -1) {
		all = append(all, strings.ReplaceAll(inAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return all
}

// Nobody can keep this promise, so no page makes it.
func TestNoPagePromisesTooMuch(t *testing.T) {
	t.Parallel()
	too := "exactly" + " once"
	for _, p := range pages {
		if strings.Contains(strings.ToLower(page(t, p)), too) {
			t.Errorf("%s says %q", p, too)
		}
	}
}
