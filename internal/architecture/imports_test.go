// Package architecture checks that packages import only what the table of docs/architecture.md
// allows, that only one package knows asynq and Meta's host, and that the documents describe the
// code as it is. It has tests only.
package architecture

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

// packages are the packages of the module, each with the packages that its code outside of tests
// imports. A package imports only packages above it in this list, so there can be no cycle.
// docs/architecture.md shows the same table, and a test compares the two.
var packages = []struct{ name, imports string }{
	{"internal/jsondoc", ""},
	{"internal/message", ""},
	{"internal/content", "jsondoc message"},
	{"internal/record", "message"},
	{"internal/signature", "message"},
	{"internal/retry", ""},
	{"internal/secrets", ""},
	{"internal/redisurl", ""},
	{"internal/prices", "message"},
	{"internal/config", "message redisurl"},
	{"internal/version", ""},
	{"internal/ops", "version"},
	{"internal/tracing", "retry"},
	{"internal/store", "message retry redisurl"},
	{"internal/audit", "message store"},
	{"internal/directory", "message config secrets store audit"},
	{"internal/route", "message config content"},
	{"internal/dashboards", ""},
	{"internal/ports", ""},
	{"internal/redistest", "ports"},
	{"internal/reshard", ""},
	{"internal/pgtest", "ports"},
	{"internal/nodetest", ""},
	{"internal/buildtest", ""},
	{"internal/golden", ""},
	{"internal/poll", ""},
	{"internal/progress", ""},
	{"internal/metapages", ""},
	{"internal/sbom", ""},
	{"internal/described", ""},
	{"internal/tracetest", "poll"},
	{"internal/httpapi", "jsondoc message"},
	{"internal/intake", "jsondoc message content httpapi tracing"},
	{"internal/send", "message record retry tracing"},
	{"internal/reconcile", "message tracing"},
	{"client", ""},
	{"internal/importfile", ""},
	{"internal/importer", "message client importfile"},
	{"internal/canary", "client"},
	{"internal/events", "message retry store"},
	{"internal/feed", "message httpapi store events"},
	{"internal/ledger", "message record store audit events"},
	{"internal/holds", "message store audit"},
	{"internal/campaigns", "message store audit holds"},
	{"internal/observed", "message store"},
	{"internal/ratelimit", "message store"},
	{"internal/portfolio", "store"},
	{"internal/quiethours", "message config"},
	{"internal/queue", "message retry store"},
	{"internal/dispatch", "message store holds portfolio ratelimit queue"},
	{"internal/backlog", "message store holds portfolio ratelimit queue"},
	{"internal/quota", "message config store"},
	{"internal/admission", "message record signature config store ledger queue backlog"},
	{"internal/people", "message store"},
	{"internal/frequency", "message config store people"},
	{"internal/budget", "message config store"},
	{"internal/media", "message store"},
	{"internal/conversations", "message store ratelimit queue people"},
	{"internal/servicewindow", "message store people"},
	{"internal/suppression", "message secrets store people"},
	{"internal/repository", "message content record store send ledger holds people conversations suppression servicewindow quiethours frequency budget ratelimit portfolio queue dispatch backlog campaigns"},
	{"internal/gauges", "message events ledger holds portfolio backlog"},
	{"internal/fleet", "message httpapi ledger holds observed backlog"},
	{"internal/postgres", ""},
	{"internal/report", "message prices postgres"},
	{"internal/migrate", "message record store events ledger queue"},
	{"internal/cloudapi", "version jsondoc message content tracing"},
	{"internal/onboarding", "directory cloudapi"},
	{"internal/archive", "message retry store events cloudapi postgres"},
	{"internal/schedules", "message secrets httpapi store"},
	{"internal/console", "message secrets config directory onboarding httpapi fleet people portfolio archive report schedules"},
	{"internal/holdpolicy", "message send cloudapi"},
	{"internal/pages", "message httpapi store fleet holdpolicy report client importfile importer"},
	{"internal/publicnet", ""},
	{"internal/relay", "version message retry secrets store events cloudapi publicnet"},
	{"internal/autoreply", "version message retry config store events cloudapi publicnet suppression quiethours"},
	{"internal/outbox", "message retry postgres"},
	{"internal/tokenwatch", "message observed cloudapi"},
	{"internal/throughput", "observed"},
	{"internal/templates", "message jsondoc content store"},
	{"internal/sendtrace", ""},
	{"internal/webhook", "message cloudapi tracing"},
	{"internal/mediacheck", "version message content publicnet"},
	{"internal/graphsim", "jsondoc message content retry cloudapi"},
	{"internal/doctor", "message secrets config store directory events ledger holds backlog cloudapi holdpolicy relay outbox archive templates"},
	{"internal/program", "ops store"},
	{"internal/app", "version message record signature retry secrets prices config ops store program audit directory onboarding httpapi intake console pages fleet feed send reconcile events ledger holds portfolio observed ratelimit queue dispatch backlog admission quota repository gauges cloudapi content conversations holdpolicy people suppression servicewindow mediacheck quiethours frequency budget media relay autoreply outbox archive report route tokenwatch throughput templates sendtrace tracing webhook client canary doctor campaigns schedules"},
	{"internal/demo", "message config ops store client events graphsim app"},
	{"internal/rig", "ops ports client graphsim app"},
	{"internal/bench", "message content config secrets store ports client events admission cloudapi graphsim rig relay"},
	{"internal/chaos", "message record store ports client events ledger holds queue cloudapi graphsim rig bench relay secrets reshard"},
	{"cmd/producer", "app"},
	{"cmd/worker", "app"},
	{"cmd/webhook", "app"},
	{"examples/go", "client"},
	{"cmd/sluice", "version app message record secrets prices config ops store directory onboarding httpapi client importfile importer canary events ledger holds portfolio backlog fleet migrate holdpolicy outbox archive report graphsim doctor demo rig bench chaos"},
}

// public is the package that programs of others import. It imports none of ours, so that it exposes none of their types.
const public = "client"

// testPackages have tests and nothing else, so no package can import them.
var testPackages = []string{"internal/architecture", "internal/browsertest", "internal/deploytest", "internal/e2e", "internal/examplestest", "internal/sdktest", "internal/wordtest"}

// asynqPath is the import path that only queue may have, and bench, which measures against bare
// asynq. metaHost is the host name that only cloudapi and config may have.
const (
	asynqPath = "github.com/hibiken/asynq"
	metaHost  = "graph.facebook.com"
)

// source is what the rules need to know of a Go file outside of tests.
type source struct {
	file    string // "internal/intake/post.go"
	imports []string
	host    bool // a string of it names metaHost
}

func (s source) pkg() string { return path.Dir(s.file) }

// violations returns what is wrong with the files, each with the rule and the fix.
func violations(files []source) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	used := map[string]map[string]bool{} // by package, what it imports of ours
	for _, f := range files {
		pkg := f.pkg()
		first := used[pkg] == nil
		if first {
			used[pkg] = map[string]bool{}
		}
		if slices.Contains(testPackages, pkg) {
			say("%s: %s has tests only. Put the code into a file whose name ends in _test.go, or into the package that it is about.", f.file, pkg)
			continue
		}
		allowed, known := importsOf(pkg)
		if !known && first {
			say("%s: %s is a new package. Add it to the table of internal/architecture/imports_test.go and of docs/architecture.md, below the packages that it imports; or move the code into the package that it is about.", f.file, pkg)
		}
		for _, i := range f.imports {
			ours, is := strings.CutPrefix(i, "sluice/")
			used[pkg][ours] = true
			switch {
			case is && known && !slices.Contains(allowed, ours):
				say("%s imports %s, but %s may import only: %s. %s", f.file, ours, pkg, list(allowed), remedy(pkg))
			case (i == asynqPath || strings.HasPrefix(i, asynqPath+"/")) && pkg != "internal/queue" && pkg != "internal/bench":
				say("%s imports asynq, but only internal/queue uses it (internal/bench measures against it). Put into queue what needs asynq, behind a name of ours.", f.file)
			}
		}
		if f.host && pkg != "internal/cloudapi" && pkg != "internal/config" {
			say("%s names %s, but only cloudapi calls Meta and only config sets another address. Take the base URL as an option.", f.file, metaHost)
		}
	}
	for _, p := range packages {
		if used[p.name] == nil {
			say("%s is in the table of internal/architecture/imports_test.go, but has no code. Remove it there and in docs/architecture.md.", p.name)
			continue
		}
		allowed, _ := importsOf(p.name)
		for _, a := range allowed {
			if !used[p.name][a] {
				say("%s may import %s and does not. Remove the permission in internal/architecture/imports_test.go and in docs/architecture.md.", p.name, a)
			}
		}
	}
	return wrong
}

// remedy says where code belongs that imports a package which its own may not import.
func remedy(pkg string) string {
	switch {
	case slices.Contains([]string{"internal/jsondoc", "internal/message", "internal/config", "internal/ops", "internal/store"}, pkg):
		return "Other packages build on it. What two packages share is a noun and belongs in message; anything else belongs in the package that needs it."
	case strings.HasPrefix(pkg, "cmd/"):
		return "A command reads its arguments and calls app. Its work belongs in a package of its own, and the wiring in app."
	}
	return "A package that needs another one declares a small interface with nouns of message in it, and app connects the two."
}

func importsOf(pkg string) (allowed []string, known bool) {
	for _, p := range packages {
		if p.name == pkg {
			for name := range strings.FieldsSeq(p.imports) {
				if name != public {
					name = "internal/" + name
				}
				allowed = append(allowed, name)
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

func TestImports(t *testing.T) {
	t.Parallel()
	for _, v := range violations(sources(t)) {
		t.Error(v)
	}
}

func TestImportsHaveNoCycle(t *testing.T) {
	t.Parallel()
	for i, p := range packages {
		allowed, _ := importsOf(p.name)
		for _, a := range allowed {
			if !slices.ContainsFunc(packages[:i], func(above struct{ name, imports string }) bool { return above.name == a }) {
				t.Errorf("%s may import %s, which is not above it in the table", p.name, a)
			}
		}
	}
}

// TestViolationsAreFound breaks each rule once.
func TestViolationsAreFound(t *testing.T) {
	t.Parallel()
	var good []source
	for _, p := range packages {
		s := source{file: p.name + "/doc.go"}
		allowed, _ := importsOf(p.name)
		for _, a := range allowed {
			s.imports = append(s.imports, "sluice/"+a)
		}
		good = append(good, s)
	}
	if found := violations(good); found != nil {
		t.Errorf("where no rule is broken it finds %q", found)
	}
	for want, bad := range map[string]source{
		"internal/record may import only: internal/message. A package":   {file: "internal/record/x.go", imports: []string{"sluice/internal/ledger"}},
		"internal/message may import only: none of ours. Other packages": {file: "internal/message/x.go", imports: []string{"sluice/internal/store"}},
		"cmd/worker may import only: internal/app. A command":            {file: "cmd/worker/x.go", imports: []string{"sluice/internal/queue"}},
		"internal/app may import only":                                   {file: "internal/app/x.go", imports: []string{"sluice/internal/graphsim"}},
		"client may import only: none of ours":                           {file: "client/x.go", imports: []string{"sluice/internal/message"}},
		"internal/other is a new package":                                {file: "internal/other/x.go"},
		"internal/demo may import only":                                  {file: "internal/demo/x.go", imports: []string{"sluice/internal/bench"}},
		"internal/e2e has tests only":                                    {file: "internal/e2e/x.go"},
		"only internal/queue uses it":                                    {file: "internal/send/x.go", imports: []string{asynqPath}},
		"imports asynq":                                                  {file: "internal/app/x.go", imports: []string{asynqPath + "/x"}},
		"names graph.facebook.com":                                       {file: "internal/send/x.go", host: true},
	} {
		found := violations(append(slices.Clone(good), bad))
		if len(found) != 1 || !strings.Contains(found[0], want) || !strings.Contains(found[0], bad.file) {
			t.Errorf("%+v: found %q, want %q", bad, found, want)
		}
	}
	gone := slices.DeleteFunc(slices.Clone(good), func(s source) bool { return s.pkg() == "internal/redisurl" })
	if found := violations(gone); len(found) != 1 || !strings.Contains(found[0], "internal/redisurl is in the table") {
		t.Errorf("without redisurl: found %q", found)
	}
	idle := slices.Clone(good)
	for i, s := range idle {
		if s.pkg() == "cmd/worker" {
			idle[i].imports = nil
		}
	}
	if found := violations(idle); len(found) != 1 || !strings.Contains(found[0], "cmd/worker may import internal/app and does not") {
		t.Errorf("with a permission that is not used: found %q", found)
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
