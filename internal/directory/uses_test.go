package directory_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/directory"
)

// TestUses: what a process stores of the use of API keys is in the list of every process, also for keys of the configuration file. A key that
// was not used has no time, and a change ignores it.
func TestUses(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	for hash, name := range map[string]string{"ab": "shop", "cd": "other"} {
		in.put(s, directory.APIKey{Name: name, SHA256: strings.Repeat(hash, 32), Numbers: []string{"20"}, Scopes: []string{"messages:send"}}, nil, 0)
	}
	used := func() string {
		all, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		times := map[string]time.Time{}
		for _, k := range all.APIKeys {
			if !k.LastUsed.IsZero() {
				times[k.Name] = k.LastUsed
			}
		}
		return text(times)
	}
	run := func(at int64, names ...string) {
		u := directory.NewUses(in.db, slog.New(slog.DiscardHandler))
		u.Of("other") // not used
		for _, name := range names {
			u.Of(name).Store(at)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop() // it stores at the end
		if err := u.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run(1_700_000_000, "shop", "first")
	run(1_700_000_060, "shop")
	run(1_700_000_090)
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shop := all.APIKeys[slices.IndexFunc(all.APIKeys, func(k directory.APIKey) bool { return k.Name == "shop" })]
	shop.LastUsed = time.Now()
	in.put(s, shop, nil, shop.Revision)
	if got, want := used(), `{"first":"2023-11-14T22:13:20Z","shop":"2023-11-14T22:14:20Z"}`; got != want {
		t.Errorf("used %s, want %s", got, want)
	}
}
