package relay

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/redistest"
)

// TestOfPerson: the dead letters that name a person are found and deleted in all shards, and the others stay.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	if _, err := w.targets.Set(t.Context(), message.RelayTarget{Name: "crm", URL: "https://crm.example.com"}, ""); err != nil {
		t.Fatal(err)
	}
	const phone, other = "16505551234", "16505559999"
	for i, to := range []string{phone, other, phone} {
		values := []string{"event", `{"event":"{\"from\":\"` + to + `\"}"}`}
		if err := w.db.XAdd(t.Context(), &redis.XAddArgs{Stream: deadKey(message.Shard(i%2), "crm"), Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	who := message.PersonNames{Is: func(recipient string) bool { return recipient == phone }}
	for i, want := range []int{2, 2, 0} {
		all, err := w.targets.OfPerson(t.Context(), who, i == 1)
		if err != nil || len(all) != want || want > 0 && (all[0].Target != "crm" || all[0].At.IsZero()) {
			t.Errorf("%+v, %v, want %d", all, err, want)
		}
	}
	if n := w.db.XLen(t.Context(), deadKey(0, "crm")).Val() + w.db.XLen(t.Context(), deadKey(1, "crm")).Val(); n != 1 {
		t.Errorf("%d are left", n)
	}
}
