package ledger_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

// ended returns the ids of the messages that a filter selects, and of those among them whose content is
// kept.
func (f fixture) ended(filter message.EndedFilter) (ids, kept []string) {
	f.t.Helper()
	err := f.Ended(f.t.Context(), filter, func(e message.Ended) bool {
		ids = append(ids, e.ID)
		if e.Kept {
			kept = append(kept, e.ID)
		}
		return true
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return ids, kept
}

// TestEnded: messages that ended undelivered are found by what they are, without an index of their
// own, and can be sent again as long as their content is kept.
func TestEnded(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		rejected := f.attempting("1")
		f.finished(rejected, message.Move{To: message.Rejected, Code: 131047, Keep: true})
		dead := f.dead("2", used)
		failed := f.attempting("3")
		f.finished(failed, message.Move{To: message.Submitted, WAMID: "wamid.3"})
		f.wantResult(message.Applied, report(failed.ID, 1, "wamid.3", "failed"))
		sent := f.attempting("7")
		f.finished(sent, message.Move{To: message.Submitted, WAMID: "wamid.7"})
		f.wantResult(message.Applied, report(sent.ID, 1, "wamid.7", "sent"))
		f.wantResult(message.Applied, report(sent.ID, 1, "wamid.7", "failed"))
		delivered := f.attempting("4")
		f.finished(delivered, message.Move{To: message.Submitted, WAMID: "wamid.4"})
		f.wantResult(message.Applied, report(delivered.ID, 1, "wamid.4", "delivered"))
		expired := f.accepted("5")
		if !f.moved(f.look(expired), message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true}) {
			t.Fatal("not expired")
		}
		f.accepted("6")

		none, code := 0, 131047
		for name, tt := range map[string]struct {
			filter message.EndedFilter
			want   []string
		}{
			"all":         {message.EndedFilter{}, []string{rejected.ID, dead, failed.ID, sent.ID, expired}},
			"some states": {message.EndedFilter{States: []message.State{message.Rejected, message.Expired}}, []string{rejected.ID, expired}},
			"a code":      {message.EndedFilter{Code: &code}, []string{rejected.ID}},
			"no code":     {message.EndedFilter{Code: &none, States: []message.State{message.Expired, message.Dead}}, []string{expired}},
			"a tag":       {message.EndedFilter{Tag: "spring"}, []string{rejected.ID, dead, failed.ID, sent.ID, expired}},
			"another tag": {message.EndedFilter{Tag: "autumn"}, nil},
			"template":    {message.EndedFilter{Template: "none/en"}, nil},
			"later":       {message.EndedFilter{Since: time.Now().Add(time.Minute)}, nil},
			"earlier":     {message.EndedFilter{Until: time.Now().Add(-time.Minute)}, nil},
		} {
			tt.filter.Number = number
			if got, _ := f.ended(tt.filter); !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
		}
		if got, _ := f.ended(message.EndedFilter{Number: "1999"}); got != nil {
			t.Errorf("of another number: %q", got)
		}
		if _, kept := f.ended(message.EndedFilter{Number: number}); !slices.Equal(kept, []string{rejected.ID, dead, failed.ID, expired}) { // content is dropped at the first success
			t.Errorf("the content of %q is kept", kept)
		}

		// One that failed is sent again under another id of Meta's; what Meta says late of the first changes nothing.
		if !f.moved(f.look(failed.ID), message.Move{To: message.Queued, Reason: message.ReasonReplayed}) {
			t.Fatal("the failed one is not moved")
		}
		f.wantResult(message.Outdated, report(failed.ID, 1, "wamid.3", "failed"))
		second := f.begun(failed.ID, 1, "w/2")
		f.finished(second, message.Move{To: message.Submitted, WAMID: "wamid.3b"})
		f.wantResult(message.Applied, report(failed.ID, 2, "wamid.3b", "delivered"))
		if r := f.get(failed.ID); r.State != message.Delivered || r.Duplicates != 0 || f.hasPayload(failed.ID) {
			t.Errorf("the failed one, sent again: %+v", r)
		}

		// Sent again it is gone from here; when it ends again it is here once.
		again := message.Move{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: time.Now().Add(time.Hour)}
		if !f.moved(f.look(rejected.ID), again) {
			t.Fatal("not moved")
		}
		if got, _ := f.ended(message.EndedFilter{Number: number}); slices.Contains(got, rejected.ID) {
			t.Error("a message that is queued again is listed")
		}
		a := f.begun(rejected.ID, 1, "w/2")
		if a.Verdict != message.Go || a.N != 2 || len(a.Payload) == 0 {
			t.Fatalf("its next attempt: %+v", a)
		}
		for _, list := range f.db.Keys(f.t.Context(), store.Key(f.shard, "ended:*")).Val() { // both ends, in parts that are read apart
			for i := range 500 {
				f.db.RPush(f.t.Context(), list, fmt.Sprint("1999-", i))
			}
		}
		f.finished(a, message.Move{To: message.Rejected, Code: 131047, Keep: true})
		if got, _ := f.ended(message.EndedFilter{Number: number, Code: &code}); !slices.Equal(got, []string{rejected.ID}) {
			t.Errorf("ended twice: %q", got)
		}
	})
}
