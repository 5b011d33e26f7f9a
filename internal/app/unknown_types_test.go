package app_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/redistest"
)

// TestUnknownTypesOfANumber: a type that this version does not know is refused for the numbers with unknown_types: refuse,
// and accepted with a warning for all others.
func TestUnknownTypesOfANumber(t *testing.T) {
	t.Parallel()
	const refusing, passing = "200", "300"
	p := startProducer(t, redistest.Start(t).URL(), "", config.Number{ID: refusing, Rate: 80, Unknown: "refuse"}, config.Number{ID: passing, Rate: 80, Unknown: "pass"})
	for from, accepted := range map[string]bool{refusing: false, passing: true, number: true} {
		for kind, object := range map[string]string{
			"type":             `{"messaging_product":"whatsapp","to":"+4915123456789","type":"hologram","hologram":{"id":"1"}}`,
			"interactive.type": `{"messaging_product":"whatsapp","to":"+4915123456789","type":"interactive","interactive":{"type":"hologram","action":{}}}`,
		} {
			status, answer := ask(t, "POST", "http://"+p.Addr()+"/v1/messages", fmt.Sprintf(`{"from":%q,"message":%s}`, from, object))
			if said := fmt.Sprint(answer); accepted && (status != 202 || !strings.Contains(said, "warning")) || !accepted && (status != 422 || !strings.Contains(said, "_unknown")) {
				t.Errorf("an unknown %s from %s: %d %v", kind, from, status, answer)
			}
			status, answer = ask(t, "POST", "http://"+p.Addr()+"/v25.0/"+from+"/messages", object)
			if accepted != (status == 200) {
				t.Errorf("an unknown %s from %s on Meta's path: %d %v", kind, from, status, answer)
			}
		}
	}
}
