package browsertest

import (
	"fmt"
	"testing"

	"sluice/internal/poll"
	"sluice/internal/rig"
)

// signIn opens the console and signs in.
func (w *world) signIn(t *testing.T, key string) *tab {
	t.Helper()
	b := openTab(t, w.console)
	b.open("/")
	b.fill("actor", "Anna")
	b.fill("key", key)
	b.click("Sign in")
	b.shows("nav", "Holds")
	return b
}

// One world serves all tests, which use numbers and recipients of their own. It starts with the first.
func TestConsole(t *testing.T) {
	w := startWorld(t)
	t.Run("sign in", func(t *testing.T) { testSignIn(t, w) })
	t.Run("hold and release", func(t *testing.T) { testHold(t, w) })
}

// A browser without a session gets the sign-in page, a wrong key is refused, and a session ends with the sign-out.
func testSignIn(t *testing.T, w *world) {
	b := openTab(t, w.console)
	b.open("/console/holds")
	b.shows("h1", "Sign in")
	b.looks("sign-in")
	b.fill("actor", "Anna")
	b.fill("key", "no such key")
	b.click("Sign in")
	b.shows("#failed", "API key")
	b.forget() // the browser says that the answer is a 401
	b.fill("key", rig.APIKey)
	b.click("Sign in")
	b.shows("h1", "Holds")
	b.click("Sign out")
	b.open("/console/holds")
	b.shows("h1", "Sign in")
}

// A held number keeps its messages until it is released. A key that only reads sees the hold, and no way to change it.
func testHold(t *testing.T, w *world) {
	b := w.signIn(t, rig.APIKey)
	b.open("/console/holds")
	b.shows("#empty", "Nothing is held")
	b.fill("phone_number_id", w.numbers[1])
	b.fill("reason", "wrong price")
	b.click("Hold")
	b.shows("#holds", "wrong price")
	before := w.accepted(t)
	const n = 5
	for i := range n {
		w.send(t, 1, fmt.Sprintf("+1555010%04d", i), "utility", "held")
	}
	b.shows("#holds td.n", fmt.Sprint(n)) // the page follows by itself
	b.looks("holds")
	viewer := w.signIn(t, readOnlyKey)
	viewer.open("/console/holds")
	viewer.shows("#holds", "wrong price")
	viewer.hidden("a, button", "Release")
	viewer.hidden("button", "Hold")
	if now := w.accepted(t); now != before {
		t.Errorf("%d messages of the held number were sent", now-before)
	}
	b.click("Release")
	b.fill("reason", "price corrected")
	b.do("release", submit("release"))
	b.shows("#empty", "Nothing is held")
	poll.Until(t, "the messages to leave", func() bool { return w.accepted(t) == before+n })
	b.open("/console/audit")
	b.shows("table", "price corrected")
	b.looks("audit")
}
