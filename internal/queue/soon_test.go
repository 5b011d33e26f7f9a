package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// TestSoon: the delay of all tasks of a number ends, of more than one command moves, and of no other number.
func TestSoon(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tomorrow := float64(time.Now().Add(24 * time.Hour).Unix())
	mine := KeysOf(shards.Of(phone), phone, message.Marketing).Scheduled
	urgent := KeysOf(shards.Of(phone), phone, message.Authentication).Scheduled
	other := KeysOf(shards.Of("1"), "1", message.Marketing).Scheduled
	var all []redis.Z
	for i := range 2*soonOnce + 1 {
		all = append(all, redis.Z{Score: tomorrow + float64(i), Member: fmt.Sprint(i)})
	}
	f.db.ZAdd(t.Context(), mine, all...)
	f.db.ZAdd(t.Context(), urgent, redis.Z{Score: tomorrow, Member: "a"}, redis.Z{Score: 5, Member: "b"})
	f.db.ZAdd(t.Context(), other, redis.Z{Score: tomorrow, Member: "a"})
	if err := f.client.Soon(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	due := func(key string) int64 {
		return f.db.ZCount(t.Context(), key, "-inf", fmt.Sprint(time.Now().Unix())).Val()
	}
	if m, u, o := due(mine), due(urgent), due(other); m != int64(len(all)) || u != 2 || o != 0 {
		t.Errorf("due are %d, %d and %d, want %d, 2 and none", m, u, o, len(all))
	}
	if score := f.db.ZScore(t.Context(), urgent, "b").Val(); score != 5 {
		t.Errorf("the task that was due has the score %f", score)
	}
}
