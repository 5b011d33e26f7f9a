package holdpolicy_test

import (
	"testing"
	"time"

	"sluice/internal/holdpolicy"
	"sluice/internal/message"
)

func TestEnds(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 1, 31, 15, 4, 5, 0, time.Local)
	for _, tt := range []struct {
		hold message.Hold
		want string
	}{
		{message.Hold{By: "anna"}, "when an operator releases it"},
		{message.Hold{By: "anna", Tag: "spring", Until: until}, "at 2026-01-31 15:04:05, or when an operator releases it"},
		{message.Hold{By: holdpolicy.ByRestore, Number: "1"}, "when an operator releases it, after checking which messages were sent"},
		{message.Hold{By: holdpolicy.BySluice, Number: "1", Until: until}, "at 2026-01-31 15:04:05, or when the number has a new access token"},
		{message.Hold{By: holdpolicy.BySluice, Number: "1"}, "when the number has a new access token, when Meta announces that the account may send again, or when an operator releases it"},
		{message.Hold{By: holdpolicy.BySluice, Number: "1", Template: "a/en", Until: until}, "when Meta accepts a message of it; one is tried at 2026-01-31 15:04:05"},
		{message.Hold{By: holdpolicy.BySluice, Number: "1", Template: "a/en"}, "when Meta announces that the template may send again, or when an operator releases it"},
	} {
		if got := holdpolicy.Ends(tt.hold, time.Local); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.hold, got, tt.want)
		}
	}
}
