package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	packed "sluice/internal/record"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/rig"
)

// The search finds canaries in keys of each type, but not those in their places.
func TestLeaksInRedisAreFound(t *testing.T) {
	t.Parallel()
	c := redistest.Client(t)
	const phone, said = "4900000012300", "Your order has left."
	status := func(meta, wamid string) *redis.XAddArgs {
		return &redis.XAddArgs{Stream: events.MetaKey(message.Shard(0)), Values: []string{events.Field, `{"v":2,"type":"status","at":1,"report":{"phone_number_id":"1","wamid":"` +
			wamid + `","status":"sent"},"contacts":[{"wa_id":"` + meta + `"}],"meta":{"recipient_id":"` + meta + `"}}`}}
	}
	ctx := t.Context()
	search := func() []string {
		t.Helper()
		l := &leaks{found: map[string]string{}}
		if err := l.redis(ctx, c); err != nil {
			t.Fatal(err)
		}
		var found []string
		for place := range l.found {
			found = append(found, place)
		}
		slices.Sort(found)
		return found
	}
	stored := func(id string, change func(*packed.Record)) {
		r := packed.New(message.Message{ID: id, From: "1", Class: message.Service, Payload: []byte(`{"to":"+` + phone + `","text":"` + said + `"}`)}, "", time.Now())
		r.To = "+49***00"
		change(&r)
		c.Set(ctx, "sluice:{s00}:m:"+id, string(r.Encode()), 0)
	}
	stored("1-a", func(*packed.Record) {})
	c.XAdd(ctx, status(phone, "wamid.A"))
	if found := search(); len(found) > 0 {
		t.Fatalf("what is in its place is a leak: %v", found)
	}
	c.Set(ctx, "s", rig.Token, 0)
	c.HSet(ctx, "h", "to", "+"+phone)
	c.RPush(ctx, "l", said)
	stored("1-sent", func(r *packed.Record) { r.State = message.Sent }) // its payload should be dropped
	stored("1-named", func(r *packed.Record) { r.To = "+" + phone })
	c.SAdd(ctx, "e", rig.AppSecret)
	c.ZAdd(ctx, "z", redis.Z{Member: rig.APIKey})
	c.Set(ctx, "pair:"+phone, "", 0)
	c.XAdd(ctx, status("1", phone))
	want := []string{"the key e", "the key h", "the key l", "the key s", "the key sluice:{s00}:events:meta", "the key sluice:{s00}:m:1-named", "the key sluice:{s00}:m:1-sent", "the key z", "the name of a key"}
	if found := search(); !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}
