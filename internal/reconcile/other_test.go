package reconcile_test

import (
	"strings"
	"testing"

	"sluice/internal/message"
	"sluice/internal/reconcile"
)

// TestOtherEnvironments: status reports with a marker of another environment are marked as such, so that they do
// not wait for a message of this one. Text of another system is not such a marker.
func TestOtherEnvironments(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1)}
	r := reconcile.New(oneBatch{0, []message.Event{
		statusEvent(number, "wamid.1", "sent", "staging:1"),
		statusEvent(number, "wamid.2", "sent", "mark:"+message.NewID(number, "a")+":1"),
		statusEvent(number, "wamid.3", "sent", "order-4711"),
		statusEvent(number, "wamid.4", "sent", ""),
	}}, l, reconcile.Options{Mark: mark, Other: func(s string) bool { return strings.HasPrefix(s, "staging:") }})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.applied) != 4 {
		t.Fatalf("applied %+v", l.applied)
	}
	for _, e := range l.applied {
		if want := e.WAMID == "wamid.1"; e.OtherEnvironment != want {
			t.Errorf("%s is of another environment: %t", e.WAMID, e.OtherEnvironment)
		}
	}
}
