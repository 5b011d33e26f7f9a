package architecture

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/autoreply"
	"sluice/internal/backlog"
	"sluice/internal/budget"
	"sluice/internal/campaigns"
	"sluice/internal/directory"
	"sluice/internal/dispatch"
	"sluice/internal/events"
	"sluice/internal/frequency"
	"sluice/internal/golden"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
	"sluice/internal/quota"
	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
	"sluice/internal/relay"
	"sluice/internal/schedules"
	"sluice/internal/secrets"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

//go:generate go test . -run TestScripts -update

// scriptsDir has the scripts as Redis gets them: a file with what is put in front of it. make check runs
// luacheck on them.
const scriptsDir = "testdata/lua"

// alone are scripts that Redis gets as they are: when a worker begins an epoch, and in transactions.
var alone = []string{"internal/ledger/lua/begin.lua", "internal/store/lua/hdelif.lua"}

// loaded are the texts of the scripts that a client loads.
type loaded []string

func (*loaded) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *loaded) note(cmd redis.Cmder) {
	if a := cmd.Args(); len(a) == 3 && cmd.Name() == "script" && a[1] == "load" {
		*l = append(*l, a[2].(string))
	}
}

func (l *loaded) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.note(cmd)
		return next(ctx, cmd)
	}
}

func (l *loaded) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			l.note(cmd)
		}
		return next(ctx, cmds)
	}
}

// TestScripts: each Lua file is part of a script that Redis accepts, and the scripts are as they are stored next to
// this test.
func TestScripts(t *testing.T) {
	t.Parallel()
	const shards = message.DefaultShards
	ctx := t.Context()
	var texts loaded
	c := redistest.Client(t)
	c.AddHook(&texts)
	db, err := store.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	configured := func(string) int { return 1 }
	log := slog.New(slog.DiscardHandler)
	records := ledger.New(db, ledger.Options{Shards: shards})
	events.New(db, shards, events.Options{})
	holds.New(db, shards, log)
	directory.NewStore(directory.StoreOptions{DB: db})
	directory.NewRegistrations(db)
	ratelimit.NewController(db, shards, configured)
	people.New(db, people.Options{Shards: shards})
	queue.NewClient(db, shards)
	backlog.New(db, shards, configured)
	dispatch.NewServer(db, dispatch.Options{Shards: shards, Log: log})
	portfolio.New(db, portfolio.Window)
	quota.New(db, nil)
	suppression.New(db, suppression.Options{})
	autoreply.New(db, autoreply.Options{Shards: shards})
	frequency.New(db, nil, nil)
	budget.New(db, budget.Options{})
	campaigns.NewStore(db, nil, nil)
	schedules.New(schedules.Options{DB: db})
	relay.New(db, relay.Options{Shards: shards, Targets: relay.NewTargets(db, shards, secrets.Box{})})
	if err := db.Load(ctx); err != nil {
		t.Fatal(err)
	}
	records.BeginEpoch(ctx, 0, "none") // fails, and has loaded its script
	slices.Sort(texts)                 // one file may be in several scripts: always take the same

	var want []string
	for _, file := range luaFiles(t) {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		ends := slices.IndexFunc(texts, func(s string) bool { return strings.HasSuffix(s, text) })
		switch {
		case ends >= 0:
			text = texts[ends]
		case slices.Contains(alone, file):
		case slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, text) }):
			continue // it is put in front of others
		default:
			t.Errorf("%s is part of no script. Remove it, or let this test create what loads it.", file)
			continue
		}
		name := filepath.Base(filepath.Dir(strings.Replace(file, "/lua/", "/", 1))) + "_" + filepath.Base(file)
		want = append(want, name)
		golden.File(t, filepath.Join(scriptsDir, name), []byte(text))
	}
	stored, err := filepath.Glob(filepath.Join(scriptsDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stored {
		if !slices.Contains(want, filepath.Base(path)) {
			t.Errorf("%s is of no script. Remove it.", path)
		}
	}
}

// luaFiles returns the Lua files of the module.
func luaFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(p, d.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(p, ".lua"):
			name, err := filepath.Rel(root, p)
			files = append(files, filepath.ToSlash(name))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
