package record_test

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

func TestListEntry(t *testing.T) {
	t.Parallel()
	since := t0.Add(time.Second).UnixMilli()
	for name, want := range map[string]record.ListEntry{
		"queued":     {List: message.ListWaiting, Score: t0.Add(time.Hour).UnixMilli(), Member: messageID},
		"attempting": {List: message.ListWaiting, Score: t0.Add(time.Hour).UnixMilli(), Member: messageID},
		"in_doubt":   {List: message.ListInDoubt, Score: t0.Add(time.Minute).UnixMilli(), Member: messageID},
		"parked":     {List: message.ListParked, Score: since, Member: messageID},
		"dead":       {List: message.ListDead, Score: since, Member: "7:before:" + messageID},
		"submitted":  {List: message.ListAwaiting, Score: since, Member: messageID},
	} {
		r := in(message.State(name))
		if got := r.ListEntry(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, why := range []string{message.ReasonQuality, message.ReasonPaused} { // Meta has not sent it: no report is due
		r := in(message.Submitted)
		r.Reason = why
		if want := (record.ListEntry{List: message.ListAwaiting, Score: since + (24 * time.Hour).Milliseconds(), Member: messageID}); r.ListEntry() != want {
			t.Errorf("submitted, %s: %+v, want %+v", why, r.ListEntry(), want)
		}
	}
	for _, s := range message.States() {
		if r := in(s); (r.ListEntry() == record.ListEntry{}) != (s.List() == message.NoList) {
			t.Errorf("%s: %+v", s, r.ListEntry())
		}
	}
	if (&record.Record{}).ListEntry() != (record.ListEntry{}) {
		t.Error("no record has a place")
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", message.ReasonAttempts, "a reason: with colons:"} {
		r := in(message.Dead)
		r.Code, r.Reason = 131000, reason
		code, why, id, ok := record.DeadLetter(r.ListEntry().Member)
		if code != r.Code || why != reason || id != messageID || !ok {
			t.Errorf("%q is read as %d, %q, %q, %t", r.ListEntry().Member, code, why, id, ok)
		}
	}
	for _, member := range []string{"", "1", "1:a", "x:a:b"} {
		if _, _, _, ok := record.DeadLetter(member); ok {
			t.Errorf("%q is taken for a dead letter", member)
		}
	}
}

func TestIndexedWAMIDs(t *testing.T) {
	t.Parallel()
	for name, r := range all() {
		r.WAMID, r.Others = "a", []string{"b"}
		want := []string{"a", "b"}
		if r.State == message.Read || r.State == message.Played {
			want = nil
		}
		if got := r.IndexedWAMIDs(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	r := fresh()
	if r.IndexedWAMIDs() != nil {
		t.Error("a message without an id of Meta's has one")
	}
}
