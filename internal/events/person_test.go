package events_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// TestOfPerson: dead letters and unreadable webhooks that name a person are found and deleted, also after the first page, and the others stay.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	const phone, other = "16505551234", "16505559999"
	for i := range 150 { // more than a page
		to := other
		if i == 3 || i == 120 {
			to = phone
		}
		if err := s.Quarantine(t.Context(), fmt.Appendf(nil, `{"from":"%s"`, to), "not JSON"); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{phone, other} {
		if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: events.DeadKey(1), Values: []string{"why", "x", events.Field, "{}\n" + `{"recipient_id":"` + to + `"}`}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	who := message.PersonNames{Is: func(recipient string) bool { return recipient == phone }}
	for i, want := range []string{"unreadable_webhook unreadable_webhook event_dead_letter ", "unreadable_webhook unreadable_webhook event_dead_letter ", ""} {
		all, err := s.OfPerson(t.Context(), who, i == 1)
		got := ""
		for _, one := range all {
			if got += one.What + " "; one.At.IsZero() {
				t.Errorf("%+v", one)
			}
		}
		if err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	if n, m := db.XLen(t.Context(), events.QuarantineKey()).Val(), db.XLen(t.Context(), events.DeadKey(1)).Val(); n != 148 || m != 1 {
		t.Errorf("%d and %d are left", n, m)
	}
}
