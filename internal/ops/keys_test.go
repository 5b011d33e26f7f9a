package ops_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/golden"
	"sluice/internal/ops"
)

//go:generate go test . -run TestLogsPage -update

const logsHead = `# Logs

<!-- Made from internal/ops/keys.go and the code by: make docs -->

Each program writes its log to standard error: one JSON object per line. ` + "`log_level`" + ` ([configuration.md](configuration.md)) sets the level from which it
writes lines. A program never waits for the reader of its log: when the reader does not keep up, it drops lines and counts them in
` + "`sluice_log_lines_dropped_total`" + `.

- **No secrets.** Access tokens, signatures and texts of messages are in no line. Phone numbers are masked: ` + "`+49***89`" + `.
- **The message is constant.** ` + "`msg`" + ` names what happened, and is the same text each time. What differs is in keys. Search for ` + "`msg`" + ` and a key.
- **Failures are not repeated.** A warning or an error with ` + "`err`" + ` is written once a second for each ` + "`msg`" + ` and innermost error. The next line says in
  ` + "`repeated`" + ` how many lines were left out. That Redis is full is one failure, whatever the ` + "`msg`" + `. The libraries asynq and go-redis write into the same log,
  as ` + "`asynq`" + ` and ` + "`redis client error`" + `.

## One line for each attempt

A worker writes one line with ` + "`\"msg\":\"attempt\"`" + ` for each request to Meta. No such line is left out. Its level is ` + "`INFO`" + ` if Meta accepted the message, otherwise
` + "`WARN`" + `: with ` + "`log_level: warn`" + ` you see the attempts that failed.

` + "```json" + `
{"time":"2026-01-31T15:04:05.123Z","level":"INFO","msg":"attempt","message_id":"106540352242922-abcdefghijklmnopqrstuvwxyz","phone_number_id":"106540352242922","class":"utility","attempt":1,"outcome":"accepted","code":0,"reason":"","wamid":"wamid.HBgL","seconds":0.21,"state":"submitted","next_in":0,"cause":null}
` + "```" + `

## Keys

| key | meaning |
| --- | --- |
`

// line is a call that writes a log line.
type line struct {
	at, level, text string
	keys            []string
}

// TestLogsPage: every log line of the programs has a constant text and keys that internal/ops/keys.go explains, and docs/logs.md
// lists them.
func TestLogsPage(t *testing.T) {
	t.Parallel()
	used := map[string]bool{"time": true, "level": true, "msg": true, "repeated": true} // added by the handlers
	known := map[string]bool{}
	for _, k := range ops.Keys() {
		known[k.Name] = true
	}
	if !slices.IsSortedFunc(ops.Keys(), func(a, b ops.Key) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the keys are not in the order of their names")
	}
	texts := map[string]line{}
	for _, l := range lines(t) {
		for _, k := range l.keys {
			if used[k] = true; !known[k] {
				t.Errorf("%s: the key %q is not in internal/ops/keys.go", l.at, k)
			}
		}
		before := texts[l.text]
		if before.level != "" && before.level != l.level {
			l.level = before.level + " or " + l.level
		}
		l.keys = slices.Compact(slices.Sorted(slices.Values(append(before.keys, l.keys...))))
		texts[l.text] = l
	}
	var page strings.Builder
	page.WriteString(logsHead)
	for _, k := range ops.Keys() {
		if !used[k.Name] {
			t.Errorf("no line has the key %q: remove it from internal/ops/keys.go", k.Name)
		}
		fmt.Fprintf(&page, "| `%s` | %s |\n", k.Name, k.Meaning)
	}
	page.WriteString("\n## Lines\n\n| msg | level | keys |\n| --- | --- | --- |\n")
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		l := texts[text]
		quoted := make([]string, len(l.keys))
		for i, k := range l.keys {
			quoted[i] = "`" + k + "`"
		}
		fmt.Fprintf(&page, "| %s | %s | %s |\n", text, l.level, strings.Join(quoted, " "))
	}
	golden.File(t, filepath.Join("..", "..", "docs", "logs.md"), []byte(page.String()))
}

// lines returns the log lines of the code.
func lines(t *testing.T) (all []line) {
	t.Helper()
	files := token.NewFileSet()
	for _, dir := range []string{"internal", "cmd", "client"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Field: // a logger must be recognisable by its name
					if typeOf(n.Type) == "*slog.Logger" {
						for _, name := range n.Names {
							if !logger.MatchString(name.Name) {
								t.Errorf("%s: call the logger %s log", files.Position(n.Pos()), name.Name)
							}
						}
					}
				case *ast.CallExpr:
					if l, ok := written(t, files, n); ok {
						all = append(all, l)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// logger matches the names of loggers.
var logger = regexp.MustCompile(`^([lL]og|logger|[a-z]\w*Log)$`)

// first is the index of the text among the arguments of a method of slog.Logger.
var first = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2, "With": -1,
}

// attributes are functions that return an attribute, by its key.
var attributes = map[string]string{"tracing.ID": "trace_id"}

// written returns the log line that a call writes; false: it writes none.
func written(t *testing.T, files *token.FileSet, call *ast.CallExpr) (l line, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return l, false
	}
	text, known := first[method.Sel.Name]
	receiver := typeOf(method.X)
	if !known || !logger.MatchString(receiver[strings.LastIndexByte(receiver, '.')+1:]) {
		return l, false
	}
	l = line{at: files.Position(call.Pos()).String(), level: strings.ToUpper(strings.TrimSuffix(method.Sel.Name, "Context"))}
	if text == 2 {
		l.level = "depends"
	}
	if text >= 0 {
		if l.text, ok = constant(call.Args[text]); !ok {
			t.Errorf("%s: the text of a log line must be a constant: what differs belongs into keys", l.at)
		}
	}
	for args := call.Args[text+1:]; len(args) > 0; {
		if key, ok := constant(args[0]); ok {
			l.keys, args = append(l.keys, key), args[min(2, len(args)):]
			continue
		}
		attribute, ok := args[0].(*ast.CallExpr)
		name := ""
		if ok {
			name = typeOf(attribute.Fun)
		}
		key := attributes[name]
		if strings.HasPrefix(name, "slog.") {
			key, _ = constant(attribute.Args[0])
		}
		if key == "" {
			t.Errorf("%s: the keys of a log line must be constants", l.at)
		}
		l.keys, args = append(l.keys, key), args[1:]
	}
	return l, true
}

// constant returns the value of a string literal.
func constant(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// typeOf returns the source of a type, or of a chain of selectors.
func typeOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return "*" + typeOf(e.X)
	case *ast.SelectorExpr:
		return typeOf(e.X) + "." + e.Sel.Name
	}
	return "?"
}
