package pages

import (
	"strings"
	"testing"
)

// TestEventsHaveNoOtherLines: a carriage return in a caller's text cannot begin a field of the event.
func TestEventsHaveNoOtherLines(t *testing.T) {
	t.Parallel()
	text := string(event([]byte("<p>a\revent: ended\rdata: x\r\n\n</p>")))
	if strings.Contains(text, "\r") || strings.Contains(text, "\nevent:") || text != "data: <p>a event: ended data: x \ndata: </p>\n\n" {
		t.Errorf("%q", text)
	}
}
