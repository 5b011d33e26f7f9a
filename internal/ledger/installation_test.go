package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/ledger"
	"sluice/internal/redistest"
)

const (
	oneKey     = "0123456789abcdef"
	anotherKey = "fedcba9876543210"
)

// TestCheckInstallation: a store of one installation refuses another environment and another marker key, names the
// setting, and shows no key. With the former key as the second one, the key changes.
func TestCheckInstallation(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		check := func(environment, key, second string) error {
			return f.CheckInstallation(t.Context(), environment, key, second)
		}
		starts := func(environment, key, second string) {
			t.Helper()
			if err := check(environment, key, second); err != nil {
				t.Error(err)
			}
		}
		refused := func(environment, key, second string, says ...string) {
			t.Helper()
			err := check(environment, key, second)
			if !errors.Is(err, ledger.ErrInstallation) {
				t.Errorf("%s: %v", environment, err)
				return
			}
			for _, s := range says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v\nsays nothing of %q", err, s)
				}
			}
			if strings.Contains(err.Error(), oneKey) || strings.Contains(err.Error(), anotherKey) {
				t.Errorf("tells a key: %v", err)
			}
		}
		starts("prod", oneKey, "")
		starts("prod", oneKey, "")
		refused("staging", oneKey, "", `"prod"`, "environment: staging", "sluice:installation")
		refused("prod", anotherKey, "", "marker_key_file", "second_marker_key_file", "sluice:installation")
		refused("staging", anotherKey, oneKey, "environment")
		starts("prod", oneKey, anotherKey) // first all workers read the new key
		starts("prod", anotherKey, oneKey) // then they use it
		starts("prod", oneKey, anotherKey) // one that is started again meanwhile
		starts("prod", anotherKey, oneKey)
		starts("prod", anotherKey, "") // and in the end the former one is gone
		refused("prod", oneKey, "")
		for key, value := range f.db.HGetAll(t.Context(), "sluice:installation").Val() {
			if strings.Contains(value, oneKey) || strings.Contains(value, anotherKey) {
				t.Errorf("%s is stored as %q", key, value)
			}
		}
		f.db.HDel(t.Context(), "sluice:installation", "marker_key")
		starts("prod", oneKey, "")
	})
}

// TestCheckInstallationOnAFullRedis: workers start there too, so that they can drain it.
func TestCheckInstallationOnAFullRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	full := func(maxmemory string) {
		t.Helper()
		if err := f.db.ConfigSet(t.Context(), "maxmemory", maxmemory).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.CheckInstallation(t.Context(), "prod", oneKey, ""); err != nil {
		t.Fatal(err)
	}
	full("1")
	for _, key := range []string{oneKey, anotherKey} {
		if err := f.CheckInstallation(t.Context(), "prod", key, oneKey); err != nil {
			t.Errorf("on a full Redis: %v", err)
		}
	}
}
