// Package wordtest checks that texts for readers and exported names use the words of
// docs/glossary.md. It has tests only.
package wordtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// documents are the files whose whole text is for readers, as patterns of path.Match.
var documents = []string{
	"README.md", "CHANGELOG.md", "docs/*.md", "Makefile", "Dockerfile", "docker-compose.yml", "tools/need",
	"examples/*.md", "examples/*/*.*", "deploy/*.yaml", "deploy/*/*.yaml", "deploy/*/*.yml", "deploy/*/*/*.yaml", "deploy/*/*/*.yml", "docs/runbooks/*.md",
	"internal/pages/templates/*.html",
}

// text is a piece of text for readers, or an exported name.
type text struct {
	source string // what the list of pending texts names: a document, or the folder of a Go package
	place  string // file and line
	value  string
}

func TestNoRetiredWords(t *testing.T) {
	t.Parallel()
	texts := slices.Concat(readDocuments(t), readPackages(t))
	if len(texts) < 1000 {
		t.Fatalf("only %d texts were found", len(texts))
	}
	found := map[string]bool{}
	for _, x := range texts {
		for _, hit := range hits(x.value) {
			found[x.source] = true
			if !slices.Contains(pending, x.source) {
				t.Errorf("%s: %s", x.place, hit)
			}
		}
	}
	for _, source := range pending {
		if !found[source] {
			t.Errorf("%s has no retired word: take it out of the list of pending texts", source)
		}
	}
}

// TestEachRetiredWordIsFound breaks each rule once.
func TestEachRetiredWordIsFound(t *testing.T) {
	t.Parallel()
	for _, r := range retired {
		if found := hits(r.example); !slices.ContainsFunc(found, func(hit string) bool { return strings.HasSuffix(hit, r.instead) }) {
			t.Errorf("%q has %q, and the test finds %q", r.example, r.pattern, found)
		}
	}
	for value, want := range map[string]int{
		"sluice_status_folded_total":         1,
		"ErrDeedLost":                        1,
		"A read receipt of an in-doubt one.": 0,
		"besides":                            0,
		"TestADeedIsRecorded":                1,
	} {
		if found := hits(value); len(found) != want {
			t.Errorf("%q: found %q, want %d", value, found, want)
		}
	}
}

// TestExportedNamesAreRead checks what is taken from a Go file.
func TestExportedNamesAreRead(t *testing.T) {
	t.Parallel()
	source := `// Package a is one.
package a

import "two/three"

// Four is five.
type Four struct {
	// Six is seven.
	Six string ` + "`json:\"eight\"`" + ` // nine
	ten int // not this
}

// eleven is not for readers.
func eleven() string { return "twelve" + three.X }
`
	var got []string
	for _, x := range goTexts(t, "a.go", source) {
		got = append(got, strings.TrimSpace(x.value))
	}
	want := []string{"Package a is one.", "Four", "Four is five.", "Six", "Six is seven.", "nine", `json:"eight"`, "twelve"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var patterns = func() (all []*regexp.Regexp) {
	for _, r := range retired {
		all = append(all, regexp.MustCompile(`(?:^|\b)(?:`+r.pattern+`)\b`))
	}
	return all
}()

// anyPattern matches a text with any retired word. Most texts have none, and one pattern is faster than all.
var anyPattern = func() *regexp.Regexp {
	var all []string
	for _, r := range retired {
		all = append(all, r.pattern)
	}
	return regexp.MustCompile(`(?:^|\b)(?:` + strings.Join(all, "|") + `)\b`)
}()

var (
	camel = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)
	name  = regexp.MustCompile(`^\w+$`)
)

// hits returns the retired words of a text, each with the word to use instead.
func hits(value string) []string {
	if name.MatchString(value) {
		for range 2 { // matches overlap: aBCd
			value = camel.ReplaceAllString(value, "${1}${3} ${2}${4}")
		}
	}
	value = strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(value, "_", " ")), " "))
	for _, phrase := range allowed {
		value = strings.ReplaceAll(value, phrase, "")
	}
	if !anyPattern.MatchString(value) {
		return nil
	}
	var found []string
	for i, p := range patterns {
		if word := p.FindString(value); word != "" {
			found = append(found, fmt.Sprintf("%q is a retired word. Use: %s", word, retired[i].instead))
		}
	}
	return found
}

// readDocuments returns the paragraphs of the documents.
func readDocuments(t *testing.T) (texts []text) {
	t.Helper()
	for _, pattern := range documents {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source := relative(t, file)
			for i, line := range strings.Split(string(b), "\n") {
				if source == "CHANGELOG.md" && strings.HasPrefix(line, "| ") {
					continue // the tables of old names and new names
				}
				texts = append(texts, text{source, fmt.Sprintf("%s:%d", source, i+1), line})
			}
		}
	}
	return texts
}

// readPackages returns what the Go files of our programs have for readers. Tests are left out.
func readPackages(t *testing.T) (texts []text) {
	t.Helper()
	for _, top := range []string{"client", "cmd", "examples", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return filepath.SkipDir
			case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
				return nil
			}
			b, err := os.ReadFile(file)
			if err == nil {
				texts = append(texts, goTexts(t, relative(t, file), string(b))...)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

// goTexts returns the strings of a Go file, its exported names, and the comments of these names.
func goTexts(t *testing.T, file, source string) (texts []text) {
	t.Helper()
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	add := func(at token.Pos, value string) {
		p := files.Position(at)
		texts = append(texts, text{path.Dir(file), fmt.Sprintf("%s:%d", file, p.Line), value})
	}
	comment := func(groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if g != nil {
				add(g.Pos(), g.Text())
			}
		}
	}
	exported := func(names []*ast.Ident, groups ...*ast.CommentGroup) {
		for _, n := range names {
			if n.IsExported() {
				add(n.Pos(), n.Name)
				comment(groups...)
			}
		}
	}
	comment(tree.Doc)
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.FuncDecl:
			exported([]*ast.Ident{n.Name}, n.Doc)
		case *ast.GenDecl:
			if len(n.Specs) == 1 { // else the comments of the specs count, and this one is a heading
				switch spec := n.Specs[0].(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						comment(n.Doc)
					}
				case *ast.ValueSpec:
					if spec.Names[0].IsExported() {
						comment(n.Doc)
					}
				}
			}
		case *ast.TypeSpec:
			exported([]*ast.Ident{n.Name}, n.Doc, n.Comment)
		case *ast.ValueSpec:
			exported(n.Names, n.Doc, n.Comment)
		case *ast.Field:
			exported(n.Names, n.Doc, n.Comment)
		case *ast.BasicLit:
			if value, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && !slices.Contains(stored, value) {
				add(n.Pos(), value)
			}
		}
		return true
	})
	return texts
}

// relative returns the path of a file from the top of the repository.
func relative(t *testing.T, file string) string {
	t.Helper()
	name, err := filepath.Rel(root, file)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(name)
}
