package holdpolicy

import (
	"time"

	"sluice/internal/message"
)

// Ends says what ends a hold, for people. It shows times in a time zone.
func Ends(h message.Hold, zone *time.Location) string {
	const released = "when an operator releases it"
	at, ends := "at "+h.Until.In(zone).Format(time.DateTime), !h.Until.IsZero()
	switch {
	case h.By == ByRestore:
		return released + ", after checking which messages were sent"
	case h.By != BySluice && ends:
		return at + ", or " + released
	case h.By != BySluice:
		return released
	case h.Template != "" && ends:
		return "when Meta accepts a message of it; one is tried " + at
	case h.Template != "":
		return "when Meta announces that the template may send again, or " + released
	case ends:
		return at + ", or when the number has a new access token"
	}
	return "when the number has a new access token, when Meta announces that the account may send again, or " + released
}
