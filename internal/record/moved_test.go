package record_test

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

const otherNumber = "106540352242999"

// TestMoved: the old record keeps its payload until the new one exists, whose id follows from the old record. The caller's content,
// times and labels stay.
func TestMoved(t *testing.T) {
	t.Parallel()
	r := withFallback()
	r.NextAt, r.Client, r.Campaign, r.Failures = t0.Add(30*time.Minute), "acme", "spring", 2
	if r = stored(t, r); !r.MayMove() {
		t.Fatalf("%+v", r)
	}
	away, c := r.MoveAway(otherNumber, t0.Add(time.Minute))
	again, _ := r.MoveAway(otherNumber, t0.Add(time.Hour))
	away = stored(t, away)
	if number, ok := message.Number(away.MovedTo); !ok || number != otherNumber || again.MovedTo != away.MovedTo {
		t.Errorf("moved to %q, and to %q", away.MovedTo, again.MovedTo)
	}
	if away.State != message.Cancelled || !away.Moving() || away.MayMove() || away.Payload != r.Payload || away.ListEntry().List != message.ListMoving {
		t.Errorf("%+v", away)
	}
	if c.To != message.Cancelled || c.Reason != message.ReasonMoved || c.MovedTo != away.MovedTo || c.Final != nil {
		t.Errorf("%+v", c)
	}
	if event := string(away.AppendEvent(nil, t0, c.Change)); !strings.Contains(event, `"moved_to":"`+away.MovedTo+`"`) {
		t.Error(event)
	}

	next := away.Successor(record.Successor{Account: "77", Recipient: "other", Payload: []byte(`{"new":1}`), Other: []byte(`{"new":2}`)}, t0.Add(2*time.Minute))
	next = stored(t, next)
	if next.ID != away.MovedTo || next.From != otherNumber || next.MovedFrom != r.ID || next.State != message.Queued || next.Hash != r.Hash || next.Failures != 0 || next.Attempt != 0 {
		t.Errorf("%+v", next)
	}
	if next.Payload != `{"new":1}` || next.Other != `{"new":2}` || next.Recipient != "other" || next.Context.Account != "77" || next.Fallback != r.Fallback {
		t.Errorf("%+v", next)
	}
	if !next.SendAt.Equal(r.NextAt) || !next.ExpiresAt.Equal(r.ExpiresAt) || next.Ref != r.Ref || next.Client != "acme" || next.Campaign != "spring" || next.Callback != r.Callback {
		t.Errorf("%+v", next)
	}

	moved := stored(t, away.Moved())
	if moved.Payload+moved.Other+moved.Recipient != "" || moved.Moving() || moved.MovedTo != next.ID || moved.ListEntry().List != message.NoList {
		t.Errorf("%+v", moved)
	}
	if stone := stored(t, moved.ToTombstone(t0.Add(time.Hour))); stone.MovedTo != next.ID {
		t.Errorf("%+v", stone)
	}
}

// TestMayMove: only a message that waits, of which Meta certainly took no attempt, and that does not depend on its number.
func TestMayMove(t *testing.T) {
	t.Parallel()
	change := func(f func(r *record.Record)) record.Record {
		r := withFallback()
		f(&r)
		return r
	}
	follower := change(func(*record.Record) {})
	follower.AddFollower("1-x", message.After{State: message.Sent})
	for what, c := range map[string]struct {
		r    record.Record
		want bool
	}{
		"queued":                        {change(func(*record.Record) {}), true},
		"refused for certain":           {change(func(r *record.Record) { r.Attempt, r.Proven = 2, 2 }), true},
		"an attempt without an outcome": {change(func(r *record.Record) { r.Attempt, r.Proven = 2, 1 }), false},
		"attempting":                    {change(func(r *record.Record) { r.State = message.Attempting }), false},
		"in doubt":                      {change(func(r *record.Record) { r.State = message.InDoubt }), false},
		"parked":                        {change(func(r *record.Record) { r.State = message.Parked }), false},
		"cancelled":                     {change(func(r *record.Record) { r.State = message.Cancelled }), false},
		"free-form":                     {fresh(), false},
		"to a group":                    {change(func(r *record.Record) { r.Recipient = "" }), false},
		"waits for another one":         {change(func(r *record.Record) { r.After = message.After{ID: "1-x", State: message.Sent} }), false},
		"another one waits for it":      {follower, false},
	} {
		if got := c.r.MayMove(); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}
