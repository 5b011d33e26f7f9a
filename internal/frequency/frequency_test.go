package frequency_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/frequency"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const number, other = "106540352242922", "106540352242923"

func setup(t testing.TB, caps map[string][]config.FrequencyCap) (*store.DB, *frequency.Caps) {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	persons := people.New(db, people.Options{Hash: secrets.Hasher("a key", "recipient index"), Alone: true, Shards: 2})
	return db, frequency.New(db, persons, func(client string) []config.FrequencyCap { return caps[client] })
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	db, c := setup(t, map[string][]config.FrequencyCap{
		"shop":   {{Messages: 2, Within: "24h"}},
		"bakery": {{Messages: 2, Within: "24h"}, {Messages: 3, Within: "168h", Classes: []string{"marketing", "utility"}}},
	})
	const phone = "+16505551234"
	n := 0
	admit := func(m frequency.Message, want bool) {
		t.Helper()
		if m.Recipient == "" {
			m.Recipient = phone
		}
		if n++; m.ID == "" {
			m.ID = fmt.Sprint("message-", n)
		}
		if got, err := c.Admit(t.Context(), []frequency.Message{m}); err != nil || got[0] != want {
			t.Errorf("%+v: %v, %v, want %v", m, got, err, want)
		}
	}
	shop := frequency.Message{Client: "shop", Number: number, Class: message.Marketing}
	first := shop
	first.ID = "first"
	admit(first, true)
	admit(first, true) // a retry
	otherNumber := shop
	otherNumber.Number, otherNumber.Recipient = other, "16505551234"
	admit(otherNumber, true)
	admit(shop, false)
	admit(first, true) // its retry comes although the cap is reached
	admit(frequency.Message{Client: "shop", Number: number, Class: message.Marketing, Recipient: "+16505559999"}, true)
	admit(frequency.Message{Client: "shop", Number: number, Class: message.Utility}, true)
	admit(frequency.Message{Client: "other", Number: number, Class: message.Marketing}, true)

	// Two caps: both count. What a cap refuses is not counted for the other one.
	bakery := frequency.Message{Client: "bakery", Number: number, Class: message.Marketing}
	utility := frequency.Message{Client: "bakery", Number: number, Class: message.Utility}
	admit(bakery, true)
	admit(bakery, true)
	admit(bakery, false)
	admit(utility, true)
	admit(utility, false)

	// After its time a message does not count. Redis's clock cannot be set, so the times of the messages move.
	keys := db.Keys(t.Context(), "sluice:sent:{shop:*").Val()
	if len(keys) != 2 {
		t.Fatalf("keys %q", keys)
	}
	for _, key := range keys {
		if ttl := db.PTTL(t.Context(), key).Val(); ttl < 23*time.Hour || ttl > 24*time.Hour {
			t.Errorf("%s expires in %s", key, ttl)
		}
		for _, id := range db.ZRange(t.Context(), key, 0, -1).Val() {
			db.ZIncrBy(t.Context(), key, -float64(24*time.Hour/time.Millisecond), id)
		}
	}
	admit(shop, true)
	admit(shop, true)
	admit(shop, false)
	for _, key := range keys {
		if n := db.ZCard(t.Context(), key).Val(); n > 2 {
			t.Errorf("%s has %d messages", key, n)
		}
	}
}

// TestWithoutKey: without a secrets key people have no identity, and nothing is counted.
func TestWithoutKey(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	c := frequency.New(db, people.New(db, people.Options{Alone: true, Shards: 2}), func(string) []config.FrequencyCap {
		return []config.FrequencyCap{{Messages: 1, Within: "24h"}}
	})
	for range 2 {
		got, err := c.Admit(t.Context(), []frequency.Message{{ID: "a", Client: "shop", Number: number, Class: message.Marketing, Recipient: "+1"}})
		if err != nil || !got[0] {
			t.Errorf("%v, %v", got, err)
		}
	}
	if n := db.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys", n)
	}
}

// TestAdmitAtOnce: many workers at once admit exactly as many as the cap allows.
func TestAdmitAtOnce(t *testing.T) {
	t.Parallel()
	_, c := setup(t, map[string][]config.FrequencyCap{"shop": {{Messages: 5, Within: "24h"}}})
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			var all []frequency.Message
			for i := range 10 {
				all = append(all, frequency.Message{ID: fmt.Sprint(w, "-", i), Client: "shop", Number: number, Class: message.Marketing, Recipient: "+16505551234"})
			}
			got, err := c.Admit(t.Context(), all)
			if err != nil {
				t.Error(err)
			}
			for _, may := range got {
				if may {
					admitted.Add(1)
				}
			}
		})
	}
	if wg.Wait(); admitted.Load() != 5 {
		t.Errorf("%d messages were admitted, want 5", admitted.Load())
	}
}

// TestOfPerson: what a person got from each client is found and deleted, and counts of others stay.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	db, c := setup(t, map[string][]config.FrequencyCap{"shop": {{Messages: 1, Within: "24h"}}, "bakery": {{Messages: 1, Within: "24h"}}})
	const phone, stays = "+16505551234", "+16505559999"
	admit := func(recipient, id string) bool {
		t.Helper()
		got, err := c.Admit(t.Context(), []frequency.Message{{ID: id, Client: "shop", Number: number, Class: message.Marketing, Recipient: recipient}})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	admit(phone, "a")
	admit(stays, "b")
	hash := people.New(db, people.Options{Hash: secrets.Hasher("a key", "recipient index"), Shards: 2}).Identity(phone).Hash
	who := message.PersonNames{Hashes: []string{string(hash[:])}}
	for i, want := range []int{1, 1, 0} {
		all, err := c.OfPerson(t.Context(), []string{"shop", "bakery"}, who, i == 1)
		if err != nil || len(all) != want || want > 0 && (all[0].Client != "shop" || all[0].At.IsZero()) {
			t.Errorf("%+v, %v, want %d", all, err, want)
		}
	}
	if admit(stays, "c") || !admit(phone, "d") {
		t.Error("the wrong counts are deleted")
	}
}
