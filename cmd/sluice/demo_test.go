package main

import (
	"os"
	"testing"

	"sluice/internal/redistest"
)

// `sluice demo` reads neither .env nor the environment of the programs: with the settings of the trial in its directory, whether
// their Redis is stopped or in use, it runs one of its own.
func TestTheDemoReadsNoSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	used := redistest.Start(t)
	c := used.Client()
	if err := c.Set(t.Context(), "a key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"stopped": "redis://127.0.0.1:1", "used": used.URL()} {
		if err := os.WriteFile(".env", []byte("SLUICE_REDIS_URL="+url+"\nSLUICE_SHARDS=no number\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SLUICE_REDIS_URL", url)
		if code := run([]string{"demo", "--orders", "5"}); code != 0 {
			t.Errorf("with a Redis that is %s: exit code %d", name, code)
		}
	}
	if n := c.DBSize(t.Context()).Val(); n != 1 {
		t.Errorf("the other Redis has %d keys", n)
	}
}
