package queue

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/store"
)

//go:embed waits.lua
var waitsLua string

// pairLua gives the scripts what Go knows of the limit of a recipient.
var pairLua = fmt.Sprintf("local PAIR, BURST = %d, %d\n", pacing.PairEvery.Microseconds(), pacing.PairBurst)

// waitsKey is the recipients for whom tasks of a number wait, because they have had enough for now: a
// sorted set of the recipients, in hexadecimal, by when the next message may go to each, in microseconds.
// The tasks of a recipient are in a sorted set of their own. So a recipient costs one entry and one step
// every 6 s, however many messages wait for it.
func waitsKey(s message.Shard, number string) string { return store.Key(s, "waits:"+number) }

// waitsOf is the tasks that wait for one recipient: a class from 0, a blank and a task's id, by
// orderOf.
func waitsOf(waits, recipient string) string { return waits + ":" + recipient }

// waitField is the field of a task that names the recipient for whom it waits. Asynq does not read it, and
// shows such a task as pending, like one that is held.
const waitField = "wait"

// pair is what must be known of a task to let it wait for its recipient.
type pair struct {
	recipient pacing.Recipient // zero: unknown, or no limit holds
	accepted  int64            // when its message was, in microseconds
}

func (p pair) name() string { return hex.EncodeToString(p.recipient[:]) }

// orderOf orders the tasks of a recipient: the most urgent class first, then those accepted first.
// It is below 2^53, so that a score tells all of it.
func orderOf(class int, accepted int64) int64 {
	return int64(class)<<51 + max(0, min(accepted, 1<<51-1))
}

// wait writes that a task waits for its recipient until e.at at least.
func (n *number) wait(w *store.Writes, e exit) {
	waits, recipient := waitsKey(n.shard, n.id), e.pair.name()
	w.ZAdd(waitsOf(waits, recipient), orderOf(e.class, e.pair.accepted), strconv.Itoa(e.class)+" "+e.id)
	w.HSet(n.classes[e.class].task+e.id, waitField, recipient)
}

// exhausted notes that Meta refused a message because its recipient has had enough, and until when
// none is to be sent to it. The caller holds n.mu.
func (n *number) exhausted(r pacing.Recipient, until int64) {
	if n.full == nil {
		n.full = map[pacing.Recipient]int64{}
	}
	n.full[r] = max(n.full[r], until)
}
