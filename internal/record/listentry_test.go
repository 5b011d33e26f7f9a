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
	for name, want := range map[string]record.Place{
		"queued":     {List: message.Waiting, Score: t0.Add(time.Hour).UnixMilli(), Member: messageID},
		"attempting": {List: message.Waiting, Score: t0.Add(time.Hour).UnixMilli(), Member: messageID},
		"in_doubt":   {List: message.Doubts, Score: t0.Add(time.Minute).UnixMilli(), Member: messageID},
		"parked":     {List: message.Parking, Score: since, Member: messageID},
		"dead":       {List: message.Graves, Score: since, Member: "7:before:" + messageID},
		"submitted":  {List: message.Awaiting, Score: since, Member: messageID},
	} {
		r := in(message.State(name))
		if got := r.Place(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, why := range []string{message.ReasonQuality, message.ReasonPaused} { // Meta has not sent it: no report is due
		r := in(message.Submitted)
		r.Reason = why
		if want := (record.Place{List: message.Awaiting, Score: since + (24 * time.Hour).Milliseconds(), Member: messageID}); r.Place() != want {
			t.Errorf("submitted, %s: %+v, want %+v", why, r.Place(), want)
		}
	}
	for _, s := range message.States() {
		if r := in(s); (r.Place() == record.Place{}) != (s.List() == message.NoList) {
			t.Errorf("%s: %+v", s, r.Place())
		}
	}
	if (&record.Record{}).Place() != (record.Place{}) {
		t.Error("no record has a place")
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"", message.ReasonAttempts, "a reason: with colons:"} {
		r := in(message.Dead)
		r.Code, r.Reason = 131000, reason
		code, why, id, ok := record.DeadLetter(r.Place().Member)
		if code != r.Code || why != reason || id != messageID || !ok {
			t.Errorf("%q is read as %d, %q, %q, %t", r.Place().Member, code, why, id, ok)
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
		if got := r.Awaited(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	r := fresh()
	if r.Awaited() != nil {
		t.Error("a message without an id of Meta's has one")
	}
}
