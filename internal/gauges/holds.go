package gauges

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/holds"
	"sluice/internal/message"
)

var (
	byCause   = []string{"scope", "reason"}
	holdsDesc = prometheus.NewDesc("sluice_holds", "Holds that are in force. scope: what they keep: all, a number, a template, a tag, or a campaign. reason: why. operator: an operator set it. meta_refused: Meta refused messages, or reported failures. meta_announced: Meta announced it. redis_lost_writes: Sluice waits for statuses. redis_restored: an operator must check which messages were sent. unreadable: the stored hold cannot be read."+sameOfAll, byCause, nil)
	wholeDesc = prometheus.NewDesc("sluice_number_held", "1: a hold keeps all messages of the number. No series: none does. reason: see sluice_holds.", []string{"phone_number_id", "reason"}, nil)
	keptDesc  = prometheus.NewDesc("sluice_held_messages", "Messages that holds keep from being sent, by the scope and the reason of the hold. A message that several holds keep counts for each of them: sluice_number_held_messages counts it once."+sameOfAll, byCause, nil)
)

// unreadable is the reason of holds that cannot be read.
const unreadable = "unreadable"

// scope is what a hold keeps. Its values are scopes.
func scope(h message.Hold) string {
	switch {
	case h.Template != "":
		return "template"
	case h.Tag != "":
		return "tag"
	case h.Campaign != "":
		return "campaign"
	case h.Number != "":
		return "number"
	}
	return "all"
}

var scopes = []string{"all", "number", "template", "tag", "campaign"}

// addHolds adds the metrics of holds that keep so many messages each.
func (g *Gauges) addHolds(add func(d *prometheus.Desc, v float64, labels ...string), inForce []message.Hold, kept []int) {
	type series struct{ scope, reason string }
	count, messages := map[series]int{}, map[series]int{}
	whole := map[series]bool{} // number and reason
	unread := 0
	for i, h := range inForce {
		s := series{scope(h), g.CauseOf(h)}
		if holds.Unreadable(h) {
			s.reason = unreadable
			unread++
		}
		count[s]++
		messages[s] += kept[i]
		for _, number := range g.Numbers() {
			if (s.scope == "all" || s.scope == "number" && number == h.Number) && !whole[series{number, s.reason}] {
				whole[series{number, s.reason}] = true
				add(wholeDesc, 1, number, s.reason)
			}
		}
	}
	add(unreadDesc, float64(unread))
	for _, scope := range scopes {
		for _, reason := range append(g.Causes[:len(g.Causes):len(g.Causes)], unreadable) {
			s := series{scope, reason}
			add(holdsDesc, float64(count[s]), scope, reason)
			add(keptDesc, float64(messages[s]), scope, reason)
		}
	}
}
