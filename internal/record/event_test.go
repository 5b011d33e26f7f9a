package record_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// nasty are pieces that JSON must escape, and that encoding/json escapes for HTML or JavaScript.
var nasty = []string{
	"", "a", "order-1", `"`, `\`, "\n", "\x00", "\x1f", "\x7f", "<b>&amp;</b>", "é", "\u2028\u2029", "\xff", "\xc3", "😀", "\ufffd", "a b", "/", "'", "\u0080",
}

func nastyString(r *rand.Rand) string {
	s := ""
	for range r.IntN(4) {
		s += nasty[r.IntN(len(nasty))]
	}
	return s
}

// TestAppendEvent: an event that is written by hand is what encoding/json makes of it.
func TestAppendEvent(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	states := message.States()
	for range 5_000 {
		var r record.Record
		r.Context = message.Context{
			ID: nastyString(rng), From: nastyString(rng), Class: message.Class(nastyString(rng)), Type: nastyString(rng),
			To: nastyString(rng), Template: nastyString(rng), Ref: nastyString(rng), Callback: nastyString(rng),
		}
		for range rng.IntN(4) {
			r.Tags = append(r.Tags, nastyString(rng))
		}
		c := message.Change{
			To: states[rng.IntN(len(states))], Attempt: rng.IntN(3), WAMID: nastyString(rng),
			Code: rng.IntN(3) * 65_000, Reason: nastyString(rng), Route: message.Route(nastyString(rng)),
		}
		at := time.UnixMilli(rng.Int64N(2) * rng.Int64N(1e13))
		want, err := json.Marshal(message.Event{
			Version: message.EventVersion, Type: message.EventMessage, At: at.UnixMilli(), Number: r.From, State: &c, Message: &r.Context,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.AppendEvent([]byte("before"), at, c); string(got) != "before"+string(want) {
			t.Fatalf("\n got %s\nwant before%s", got, want)
		}
	}
}
