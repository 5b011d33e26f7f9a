package queue

import (
	_ "embed"
	"strconv"

	"sluice/internal/message"
	"sluice/internal/store"
)

// FlowsLua defines list_of(), which makes the key of a flow's tasks, sets_of() and each_flow(), which know the flows of a class, and to_head(),
// which returns a task to its flow, for scripts.
//
//go:embed flows.lua
var FlowsLua string

// flowField is the field of a task that names its flow. Asynq does not read it.
const flowField = "flow"

// FlowsKey is the classes, from 0, in which a number has flows with a name: a set. FlowsOf has the flows of a class. A flow without a
// name is the pending tasks of the queue.
func FlowsKey(s message.Shard, number string) string { return store.Key(s, "flows:"+number) }

// FlowsOf is the clients of a number and class that have tasks, or have had more than their share: a sorted set by their virtual time, which is
// how much each has sent, divided by its weight. 0: it has sent nothing yet. CampaignsOf has the campaigns of each in the same form: so a
// client cannot get more by having more campaigns.
func FlowsOf(s message.Shard, number string, class int) string {
	return FlowsKey(s, number) + ":" + strconv.Itoa(class)
}

// CampaignsOf is the campaigns of a client that have tasks, or have had more than their share of what the client sends.
func CampaignsOf(s message.Shard, number string, class int, client string) string {
	return FlowsOf(s, number, class) + ":" + client
}

// FlowKey is the tasks of a flow that wait for a slot: a list in the order of asynq's pending tasks.
func FlowKey(s message.Shard, number string, class int, flow message.Flow) string {
	return store.Key(s, "flow:"+number+":"+strconv.Itoa(class)+":"+flow.String())
}

// FlowRateKey is when the next task of a flow is due at a number, whose campaign has a rate: Unix microseconds.
func FlowRateKey(s message.Shard, number string, flow message.Flow) string {
	return store.Key(s, "flowrate:"+number+":"+flow.String())
}

// joinFlow adds a flow to those of a number's class that share its slots.
func joinFlow(w *store.Writes, s message.Shard, number string, class int, flow message.Flow) {
	w.SAdd(FlowsKey(s, number), strconv.Itoa(class))
	w.ZAddNew(FlowsOf(s, number, class), 0, flow.Client)
	w.ZAddNew(CampaignsOf(s, number, class, flow.Client), 0, flow.Campaign)
}
