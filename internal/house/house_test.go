// Package house holds the house in order: who may import whom, what only one room may know,
// and that the documents tell of the code as it is. It is tests only.
package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// rooms are the rooms of the house from the ground up, each with the rooms that it may
// import. A room may import only rooms above it in this list, so there can be no circle.
// docs/architecture.md shows the same table to people, and a test compares the two.
var rooms = []struct{ name, imports string }{
	{"internal/jsondoc", ""},
	{"internal/message", "jsondoc"},
	{"internal/record", "message"},
	{"internal/retry", ""},
	{"internal/redisurl", ""},
	{"internal/pacing", ""},
	{"internal/config", "redisurl"},
	{"internal/ops", ""},
	{"internal/store", "redisurl retry"},
	{"internal/redistest", ""},
	{"internal/golden", ""},
	{"internal/described", ""},
	{"internal/httpapi", "jsondoc message"},
	{"internal/intake", "jsondoc message httpapi"},
	{"internal/console", "message httpapi"},
	{"internal/send", "message record retry"},
	{"internal/seal", "message"},
	{"internal/reconcile", "message"},
	{"internal/client", "message"},
	{"internal/ledger", "message record store"},
	{"internal/events", "message retry store"},
	{"internal/queue", "message pacing retry store"},
	{"internal/migrate", "message store record ledger events queue"},
	{"internal/cloudapi", "jsondoc message store"},
	{"internal/webhook", "message store cloudapi"},
	{"internal/graphsim", "jsondoc message retry store cloudapi"},
	{"internal/doctor", "message config store queue cloudapi"},
	{"internal/app", "message record retry config ops store httpapi intake console send reconcile ledger events queue cloudapi webhook seal"},
	{"internal/demo", "message config ops store client events graphsim app"},
	{"internal/rig", "message config ops store client graphsim app"},
	{"internal/bench", "message pacing config ops store intake send reconcile client ledger events queue cloudapi webhook graphsim app rig"},
	{"internal/chaos", "message record config ops store client ledger events queue cloudapi graphsim rig bench"},
	{"cmd/producer", "app"},
	{"cmd/worker", "app"},
	{"cmd/webhook", "app"},
	{"cmd/sluice", "message record config ops store httpapi client ledger events queue migrate graphsim doctor demo rig bench chaos"},
}

// testRooms hold tests and nothing else, so nobody can import them.
var testRooms = []string{"internal/deploytest", "internal/e2e", "internal/house"}

// asynqs is the import path that queue alone may have, beside bench, which measures against
// bare asynq; metaHost is the name that two rooms may have.
const (
	asynqs   = "github.com/hibiken/asynq"
	metaHost = "graph.facebook.com"
)

// source is what matters here of a file that is part of a program.
type source struct {
	file    string // "internal/intake/post.go"
	imports []string
	host    bool // a string of it names metaHost
}

func (s source) room() string { return path.Dir(s.file) }

// faults returns what is wrong with the files of the house, each with the rule and the fix.
func faults(files []source) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	seen := map[string]bool{}
	for _, f := range files {
		room := f.room()
		first := !seen[room]
		seen[room] = true
		if slices.Contains(testRooms, room) {
			say("%s: %s is for tests only. Put it into a file whose name ends in _test.go, or into the room that the code is about.", f.file, room)
			continue
		}
		allowed, known := importsOf(room)
		if !known && first {
			say("%s: %s is a new room. Say in internal/house/house_test.go and in docs/architecture.md whom it may import, below those rooms in the list; or move the code into the room that it is about.", f.file, room)
		}
		for _, i := range f.imports {
			ours, is := strings.CutPrefix(i, "sluice/")
			switch {
			case is && known && !slices.Contains(allowed, ours):
				say("%s imports %s, but %s may import only: %s. %s", f.file, ours, room, list(allowed), remedy(room))
			case (i == asynqs || strings.HasPrefix(i, asynqs+"/")) && room != "internal/queue" && room != "internal/bench":
				say("%s imports asynq, but internal/queue is the only room that knows it (internal/bench measures against it). Put into queue what needs asynq, and give it a name of ours.", f.file)
			}
		}
		if f.host && room != "internal/cloudapi" && room != "internal/config" {
			say("%s names %s, but only cloudapi speaks to Meta and only config may point it elsewhere. Take the base URL as an option.", f.file, metaHost)
		}
	}
	for _, r := range rooms {
		if !seen[r.name] {
			say("%s is in the list of internal/house/house_test.go and not in the house. Take it out there and in docs/architecture.md.", r.name)
		}
	}
	return wrong
}

// remedy says where a line belongs that asked for a room it may not have.
func remedy(room string) string {
	switch {
	case slices.Contains([]string{"internal/jsondoc", "internal/message", "internal/pacing", "internal/config", "internal/ops", "internal/store"}, room):
		return "It lies on the ground. If the line is about a noun that two rooms share, it belongs in message; else in the room that asked for it."
	case strings.HasPrefix(room, "cmd/"):
		return "A command reads its arguments and calls app; what it does belongs in a room, and its wiring in app."
	}
	return "Where one room needs another, it says so with a small interface of its own, with nouns of message in it, and app introduces the two."
}

func importsOf(room string) (allowed []string, known bool) {
	for _, r := range rooms {
		if r.name == room {
			for name := range strings.FieldsSeq(r.imports) {
				allowed = append(allowed, "internal/"+name)
			}
			return allowed, true
		}
	}
	return nil, false
}

func list(names []string) string {
	if len(names) == 0 {
		return "none of ours"
	}
	return strings.Join(names, ", ")
}

func TestTheHouseIsInOrder(t *testing.T) {
	t.Parallel()
	for _, fault := range faults(sources(t)) {
		t.Error(fault)
	}
}

func TestTheListHasNoCircle(t *testing.T) {
	t.Parallel()
	for i, r := range rooms {
		allowed, _ := importsOf(r.name)
		for _, a := range allowed {
			if !slices.ContainsFunc(rooms[:i], func(above struct{ name, imports string }) bool { return above.name == a }) {
				t.Errorf("%s may import %s, which does not stand above it: arrows go one way", r.name, a)
			}
		}
	}
}

// Each rule is broken once, so that none of them can fall asleep.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	var good []source
	for _, r := range rooms {
		good = append(good, source{file: r.name + "/doc.go"})
	}
	if found := faults(good); found != nil {
		t.Errorf("in a house in order it finds %q", found)
	}
	for want, bad := range map[string]source{
		"internal/intake may import only: internal/jsondoc, internal/message, internal/httpapi.": {file: "internal/intake/x.go", imports: []string{"sluice/internal/ledger"}},
		"internal/message may import only: internal/jsondoc. It li":                              {file: "internal/message/x.go", imports: []string{"sluice/internal/store"}},
		"cmd/worker may import only: internal/app. A command":                                    {file: "cmd/worker/x.go", imports: []string{"sluice/internal/queue"}},
		"internal/app may import only":                                                           {file: "internal/app/x.go", imports: []string{"sluice/internal/graphsim"}},
		"internal/outbox is a new room":                                                          {file: "internal/outbox/x.go"},
		"cmd/worker may import only: internal/app. A com":                                        {file: "cmd/worker/x.go", imports: []string{"sluice/internal/bench"}},
		"internal/demo may import only":                                                          {file: "internal/demo/x.go", imports: []string{"sluice/internal/bench"}},
		"internal/e2e is for tests only":                                                         {file: "internal/e2e/x.go"},
		"internal/queue is the only room that knows":                                             {file: "internal/send/x.go", imports: []string{asynqs}},
		"imports asynq":            {file: "internal/app/x.go", imports: []string{asynqs + "/x"}},
		"names graph.facebook.com": {file: "internal/send/x.go", host: true},
	} {
		found := faults(append(slices.Clone(good), bad))
		if len(found) != 1 || !strings.Contains(found[0], want) || !strings.Contains(found[0], bad.file) {
			t.Errorf("%+v: found %q, want %q", bad, found, want)
		}
	}
	gone := slices.DeleteFunc(slices.Clone(good), func(s source) bool { return s.room() == "internal/pacing" })
	if found := faults(gone); len(found) != 1 || !strings.Contains(found[0], "internal/pacing is in the list") {
		t.Errorf("without pacing: found %q", found)
	}
}

// sources reads every Go file of our module that is no test.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(p, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		s, err := read(p)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// skipped tells folders that are not of our module: hidden ones, test data, other modules.
func skipped(p, name string) bool {
	if p == root {
		return false
	}
	_, err := os.Stat(filepath.Join(p, "go.mod"))
	return err == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

func read(p string) (source, error) {
	name, err := filepath.Rel(root, p)
	if err != nil {
		return source{}, err
	}
	s := source{file: filepath.ToSlash(name)}
	tree, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	for _, i := range tree.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, name)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && strings.Contains(l.Value, metaHost) {
			s.host = true
		}
		return true
	})
	return s, nil
}
