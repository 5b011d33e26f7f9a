package app_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestUseOfKeys: a producer stores when its API keys were used, at the latest when it stops.
func TestUseOfKeys(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	t.Run("a producer, until it stops", func(t *testing.T) {
		call(t, "GET", "http://"+startProducer(t, srv.URL(), "a-key-that-signs-payloads").Addr()+"/v1/states", "", 200)
	})
	db, err := store.Open(t.Context(), srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	file := directory.File{APIKeys: []config.APIKey{{Name: "verbs", SHA256: sha256.Sum256([]byte("verbs"))}, {Name: "idle"}}}
	all, err := directory.NewStore(directory.StoreOptions{DB: db, File: file}).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all.APIKeys {
		if was := k.LastUsed; k.Name == "verbs" && time.Since(was) > time.Minute || k.Name == "idle" && !was.IsZero() {
			t.Errorf("the key %s was last used %v", k.Name, was)
		}
	}
}
