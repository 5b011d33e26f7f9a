package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestCountLists: lists are counted by number, and a list that is too long for that is said to be.
func TestCountLists(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	parked := store.Key(f.shard, "parked")
	add := func(number string, from, to int) {
		t.Helper()
		var members []redis.Z
		for i := from; i < to; i++ {
			members = append(members, redis.Z{Score: float64(i), Member: fmt.Sprintf("%s-%026d", number, i)})
		}
		if err := f.db.ZAdd(t.Context(), parked, members...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want, first, second int, partial bool) {
		t.Helper()
		all, byNumber, err := f.CountLists(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if all != (ledger.ListCounts{Parked: want, Partial: partial}) || byNumber["106540352242922"].Parked != first || byNumber["106540352242923"].Parked != second {
			t.Errorf("%+v, %v", all, byNumber)
		}
	}
	count(0, 0, 0, false)
	add("106540352242922", 0, 990)
	add("106540352242923", 990, 1000)
	count(1000, 990, 10, false)
	add("106540352242923", 1000, 1100)
	count(1100, 990, 10, true)
}
