package queue

import (
	"context"
	_ "embed"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

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

// ConversationsKey is the people that tasks of a number wait for, because another app owns the conversation: a sorted set of their
// names by when to try again, in microseconds. Their tasks are where WaitsOf has those of a recipient with that name.
func ConversationsKey(s message.Shard, number string) string {
	return store.Key(s, "conversations:"+number)
}

// ofConversation begins the names of people in ConversationsKey and in WaitField. The names of recipients are hexadecimal digits
// alone: so tasks that wait for a conversation do not delay those that wait for the pair limit.
const ofConversation = "person-"

func conversationName(person [8]byte) string { return ofConversation + hex.EncodeToString(person[:]) }

// ConversationWith returns the person of a value of WaitField; false: the task does not wait for a conversation.
func ConversationWith(wait string) (person [8]byte, ok bool) {
	digits, ok := strings.CutPrefix(wait, ofConversation)
	n, err := hex.Decode(person[:], []byte(digits[:min(len(digits), 2*len(person))]))
	return person, ok && err == nil && n == len(person)
}

// ReleaseConversation lets the tasks try again that wait because another app owns the conversation with a person: one at due, and
// another one each 6 s from then on, as with the pair limit.
func ReleaseConversation(ctx context.Context, p redis.Pipeliner, s message.Shard, number string, person [8]byte, due time.Time) {
	p.ZAddArgs(ctx, ConversationsKey(s, number), redis.ZAddArgs{
		XX: true, LT: true, Members: []redis.Z{{Score: float64(due.UnixMicro()), Member: conversationName(person)}},
	})
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

// wait writes that a task waits for its recipient, for a conversation, or with LimitWait for the messaging limit.
func (l *Lease) wait(w *store.Writes, e Exit, recipient string) {
	w.ZAdd(WaitsOf(WaitsKey(l.o.Shard, l.o.Number), recipient), orderOf(e.Class, e.Recipient.Accepted), entry(e.Fetched))
	w.HSet(l.keys[e.Class].Task+e.ID, WaitField, recipient)
}

// entry is how lists that have tasks of several classes name a task.
func entry(t *Fetched) string { return strconv.Itoa(t.Class) + " " + t.ID }
