package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestRecordStaysShort: the record of a usual message takes little memory besides its payload, from the first state to
// the last.
func TestRecordStaysShort(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	m := newMessage("k1")
	m.Ref, m.Tags, m.Callback = "order-1001", nil, ""
	m.Content.Type, m.Content.Template, m.Content.Language = "template", "order_shipped", "en_US"
	m.Hash = strings.Repeat("h", 22)
	wamid := "wamid.HBgLMTU1NTEyMzQ1NjcVAgARGBI" + strings.Repeat("X", 31)
	short := func(when string) {
		t.Helper()
		if got := len(f.db.Get(t.Context(), store.Key(f.shard, "m:"+m.ID)).Val()) - len(f.read(m.ID).Payload); got > 232 {
			t.Errorf("%s: %d bytes", when, got)
		}
	}
	f.acceptedAs(m)
	short("accepted")
	a := f.begun(m.ID, 0, "a-worker-of-some-name-76b5d8f9c-x2x4z-ABCDEFGH/1a2b")
	short("attempting")
	f.finished(a, message.Move{To: message.Submitted, WAMID: wamid})
	short("submitted")
	for _, status := range []string{"sent", "delivered", "read"} {
		f.wantResult(message.Applied, report(m.ID, 1, wamid, status))
		short(status)
	}
	r := f.get(m.ID)
	if c := m.Context(); r.WAMID != wamid || fmt.Sprint(r.Context) != fmt.Sprint(c) {
		t.Errorf("%+v, want %+v", r, c)
	}
}

// TestRecordKeepsEverything: what is long or odd comes back as it was.
func TestRecordKeepsEverything(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	m := newMessage("k1")
	m.Ref, m.Tags, m.Callback = `"quoted" \ ü|`, []string{strings.Repeat("t", 64), "a|b:c+d"}, strings.Repeat("c", 512)
	f.acceptedAs(m)
	a := f.begun(m.ID, 0, "w/1")
	f.finished(a, message.Move{To: message.Rejected, Code: 131009, Reason: `odd: "reason" + more`})
	r := f.get(m.ID)
	if fmt.Sprint(r.Context) != fmt.Sprint(m.Context()) {
		t.Errorf("%+v\nwant %+v", r.Context, m.Context())
	}
	last := r.Timeline[len(r.Timeline)-1]
	if last.State != message.Rejected || last.Code != 131009 || last.Reason != `odd: "reason" + more` || last.Attempt != 1 ||
		time.Since(last.At).Abs() > time.Minute {
		t.Errorf("%+v", last)
	}
	for _, e := range f.events() {
		if fmt.Sprint(*e.Message) != fmt.Sprint(m.Context()) {
			t.Errorf("event: %+v", e.Message)
		}
	}
}
