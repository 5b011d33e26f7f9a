package reconcile_test

import (
	"strings"
	"testing"

	"sluice/internal/message"
	"sluice/internal/reconcile"
)

// TestOtherEnvironments: the ledger learns which reports carry the marker of another environment, so that
// they do not wait for a message that nobody makes. Another system's own text is no such marker.
func TestOtherEnvironments(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1)}
	r := reconcile.New(oneBatch{0, []message.Event{
		receipt(number, "wamid.1", "sent", "staging:1"),
		receipt(number, "wamid.2", "sent", "mark:"+message.NewID(number, "a")+":1"),
		receipt(number, "wamid.3", "sent", "order-4711"),
		receipt(number, "wamid.4", "sent", ""),
	}}, l, reconcile.Options{Mark: mark, Other: func(s string) bool { return strings.HasPrefix(s, "staging:") }})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.folded) != 4 {
		t.Fatalf("folded %+v", l.folded)
	}
	for _, e := range l.folded {
		if want := e.WAMID == "wamid.1"; e.OtherEnvironment != want {
			t.Errorf("%s is of another environment: %t", e.WAMID, e.OtherEnvironment)
		}
	}
}
