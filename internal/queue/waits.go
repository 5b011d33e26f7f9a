package queue

import (
	_ "embed"
	"encoding/hex"
	"strconv"

	"sluice/internal/message"
	"sluice/internal/store"
)

// WaitsLua defines release_waits(), which returns the tasks of recipients that may get another message, for
// scripts.
//
//go:embed waits.lua
var WaitsLua string

// WaitsKey is the recipients that tasks of a number wait for, because of the pair limit: a sorted set of the
// recipients, in hexadecimal, by when the next message may be sent to each, in microseconds. The tasks of a
// recipient are in a sorted set of their own. So a recipient costs one entry and one step every 6 s, however
// many messages wait for it.
func WaitsKey(s message.Shard, number string) string { return store.Key(s, "waits:"+number) }

// WaitsOf is the tasks that wait for one recipient: a class from 0, a blank and a task's id, by
// orderOf.
func WaitsOf(waits, recipient string) string { return waits + ":" + recipient }

// LimitWait stands for a recipient in the keys of the tasks that wait because of the messaging limit of their number's portfolio.
// WaitsKey does not have it: a worker says how many of these tasks may try again.
const LimitWait = "limit"

// LimitedKey is the tasks of a number that wait because of the messaging limit, as WaitsOf has those of a recipient.
func LimitedKey(s message.Shard, number string) string {
	return WaitsOf(WaitsKey(s, number), LimitWait)
}

// WaitField is the field of a task that names the recipient that it waits for. Asynq does not read it, and
// shows such a task as pending, like one that is held.
const WaitField = "wait"

// Recipient is what must be known of a task so that it can wait for its recipient.
type Recipient struct {
	ID       [8]byte // zero: unknown, or no limit applies
	Accepted int64   // when the message was, in microseconds
}

func (r Recipient) name() string { return hex.EncodeToString(r.ID[:]) }

// orderOf orders the tasks of a recipient: the most urgent class first, then those accepted first.
// It is below 2^53, so that a score has all of it.
func orderOf(class int, accepted int64) int64 {
	return int64(class)<<51 + max(0, min(accepted, 1<<51-1))
}

// wait writes that a task waits for its recipient, or with LimitWait for the messaging limit.
func (l *Lease) wait(w *store.Writes, e Exit, recipient string) {
	w.ZAdd(WaitsOf(WaitsKey(l.o.Shard, l.o.Number), recipient), orderOf(e.Class, e.Recipient.Accepted), entry(e.Fetched))
	w.HSet(l.keys[e.Class].Task+e.ID, WaitField, recipient)
}

// entry is how lists that have tasks of several classes name a task.
func entry(t *Fetched) string { return strconv.Itoa(t.Class) + " " + t.ID }
