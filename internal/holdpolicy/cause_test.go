package holdpolicy_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"sluice/internal/holdpolicy"
	"sluice/internal/message"
)

// TestCauseOf: each hold that a policy sets has its cause, and that of an operator.
func TestCauseOf(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newFake()
	p := f.policy(&bytes.Buffer{})
	for _, set := range []struct {
		cause holdpolicy.Cause
		do    func() error
	}{
		{holdpolicy.Refused, func() error {
			return p.Refused(ctx, first, "", message.Outcome{Kind: message.Held, Code: 190}, time.Minute)
		}},
		{holdpolicy.Refused, func() error {
			return p.Refused(ctx, first, "sale/en", message.Outcome{Kind: message.Held, Reason: "a proxy"}, time.Minute)
		}},
		{holdpolicy.Announced, func() error {
			return p.Update(ctx, message.Event{
				Type: message.EventUpdate, Field: "account_update", WABA: waba,
				Meta: []byte(`{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["DISABLE"]}}`),
			})
		}},
		{holdpolicy.LostWrites, func() error { p.LostWrites(ctx, message.DefaultShards.Of(first)); return nil }},
		{holdpolicy.Restored, func() error { return p.Restored(ctx, message.DefaultShards.Of(first), 0) }},
	} {
		f.set = nil
		if err := set.do(); err != nil || len(f.set) == 0 {
			t.Fatalf("%s: no hold was set: %v", set.cause, err)
		}
		for _, h := range f.set {
			if got := holdpolicy.CauseOf(h); got != set.cause {
				t.Errorf("%+v: %s, want %s", h, got, set.cause)
			}
		}
		if !slices.Contains(holdpolicy.Causes(), set.cause) {
			t.Errorf("%s is not among the causes", set.cause)
		}
	}
	if got := holdpolicy.CauseOf(message.Hold{By: "ann", Code: 190}); got != holdpolicy.Operator {
		t.Errorf("of an operator: %s", got)
	}
}
