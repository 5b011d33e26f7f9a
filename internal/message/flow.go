package message

import "strings"

// Flow is what shares the slots of a number with others: the messages of a class that belong to the same client and campaign. The
// zero value is the flow without a name.
type Flow struct{ Client, Campaign string }

// String returns the name of the flow; empty: it has none. The name of a client has no slash.
func (f Flow) String() string {
	if f == (Flow{}) {
		return ""
	}
	return f.Client + "/" + f.Campaign
}

// FlowOf returns the flow with a name.
func FlowOf(name string) (f Flow) {
	f.Client, f.Campaign, _ = strings.Cut(name, "/")
	return f
}

// Flow returns the flow of the message.
func (c Context) Flow() Flow { return Flow{c.Client, c.Campaign} }

// Weigh returns the weight of a flow's client among all clients, and the weight of its campaign among the campaigns of its client.
type Weigh func(Flow) (client, campaign int)
