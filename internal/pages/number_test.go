package pages_test

import (
	"strings"
	"testing"

	"sluice/internal/config"
)

// TestNumberShowsAutomaticReplies: the page of a number shows what Sluice answers.
func TestNumberShowsAutomaticReplies(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.replies = &config.AutoReply{
		APIKey: "shop", Rules: []config.ReplyRule{{Words: []string{"hours", "open"}, Text: hostile}}, Hook: &config.ReplyHook{URL: "https://bot.example/hook"},
		Away: &config.AwayText{Text: "Tomorrow.", From: "18:00", To: "09:00", Days: []string{"mon"}, Zone: "Europe/Berlin"}, Welcome: "Welcome!",
	}
	s.pages, s.url = s.serve(s.keys)
	b := s.signIn("admin")
	contains(t, b.get("/console/numbers/"+theirs), "Automatic replies", "API key shop", "hours, open", "https://bot.example/hook, within 5s", "18:00 to 09:00 Europe/Berlin: mon", "Tomorrow.", "Welcome!")
	if p := b.get("/console/numbers/" + ours); p.StatusCode != 200 || strings.Contains(p.text, "Automatic replies") {
		t.Errorf("a number without automatic replies: %d %s", p.StatusCode, p.text)
	}
}
