package content

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every member that a rule reads by its name is among those whose spelling is checked.
func TestMemberNamesAreComplete(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"get", "Get", "texts"}, method.Sel.Name) {
				return true
			}
			for _, argument := range call.Args {
				literal, ok := argument.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					continue
				}
				member, _ := strconv.Unquote(literal.Value)
				if found++; !slices.Contains(memberNames, member) {
					t.Errorf("%s reads the member %s, which memberNames has not", name, member)
				}
			}
			return true
		})
	}
	if found < 100 {
		t.Errorf("only %d members found: the test looks for the wrong calls", found)
	}
}
