package queue

import (
	"strings"
	"time"

	"sluice/internal/message"
)

// This file holds all that we know of the insides of asynq v0.26.0: its keys, and how to tell
// its scripts apart. conformance_test.go holds it against asynq itself.

// virtual is the one queue that asynq's server is configured with. It does not exist in
// Redis: the gate answers for it.
const virtual = "gate"

// keysOf are asynq's keys of one queue.
type keysOf struct{ pending, paused, active, lease, scheduled, retry, processed, task string }

func asynqKeys(queue string) keysOf {
	p := "asynq:{" + queue + "}:"
	return keysOf{
		pending: p + "pending", paused: p + "paused", active: p + "active", lease: p + "lease",
		scheduled: p + "scheduled", retry: p + "retry", processed: p + "processed", task: p + "t:",
	}
}

// asynqQueues is asynq's set of all queues' names.
const asynqQueues = "asynq:queues"

// onDay is the counter of one day beside the counter of ever.
func onDay(processed string, day time.Time) string {
	return processed + ":" + day.UTC().Format(time.DateOnly)
}

// name is the asynq queue of a number's class. Asynq puts it between braces, so the queue's
// hash tag is the shard's: everything about a number lies in one Cluster slot.
func name(s message.Shard, number string, c message.Class) string {
	return s.String() + "}:" + number + ":" + string(c)
}

// numberOf reads the number in what name has made.
func numberOf(queue string) string {
	_, rest, _ := strings.Cut(queue, "}:")
	number, _, _ := strings.Cut(rest, ":")
	return number
}

// call is what a script that asynq's server runs is about.
type call int

const (
	other   call = iota
	dequeue      // of the virtual queue: the gate hands out a task
	expired      // the list of the virtual queue's expired leases: the gate's own matter
	idle         // anything else about the virtual queue: nothing is there
	beat         // the server's list of running tasks
	done         // the acknowledgement of a task that is done with
	retry        // of a task that is to run again later
	requeue      // of a task that is to run again at once, because the server stops
)

func kind(keys []string) call {
	if len(keys) == 0 {
		return other
	}
	rest, ours := strings.CutPrefix(keys[0], "asynq:{"+virtual+"}:")
	switch {
	case ours && rest == "pending" && len(keys) == 4:
		return dequeue
	case ours && rest == "lease":
		return expired
	case ours:
		return idle
	case len(keys) == 2 && strings.HasPrefix(keys[0], "asynq:servers:"):
		return beat
	case len(keys) == 5 && ends(keys, ":active", ":lease", "", "", ":processed") && strings.Contains(keys[2], "}:t:"):
		return done
	case len(keys) == 8 && ends(keys, "", ":active", ":lease", ":retry") && strings.Contains(keys[0], "}:t:"):
		return retry
	case len(keys) == 4 && ends(keys, ":active", ":lease", ":pending") && strings.Contains(keys[3], "}:t:"):
		return requeue
	}
	return other
}

// ends tells whether the first keys end as given.
func ends(keys []string, with ...string) bool {
	for i, end := range with {
		if !strings.HasSuffix(keys[i], end) {
			return false
		}
	}
	return true
}

// taskOf is the task that a script of kind done, retry or requeue is about.
func taskOf(k call, keys []string) (number, id string) {
	key := keys[0]
	switch k {
	case done:
		key = keys[2]
	case requeue:
		key = keys[3]
	}
	queue, id, _ := strings.Cut(strings.TrimPrefix(key, "asynq:{"), "}:t:")
	return numberOf(queue), id
}

// retryAt is when a task is to run again, in Unix seconds, and asynq's new encoding of it.
func retryAt(args []any) (msg string, at int64) {
	if len(args) > 2 {
		b, _ := args[1].([]byte)
		at, _ = args[2].(int64)
		msg = string(b)
	}
	return msg, at
}

// beatRows caps the running tasks that a server lists in its heartbeat: thousands of rows
// would stop Redis for tens of milliseconds, and no program reads them.
func beatRows(args []any) []any {
	const most = 100
	return args[:min(len(args), 2+2*most)]
}

// isLease tells whether a sorted set's key is a queue's leases.
func isLease(key string) bool {
	return strings.HasPrefix(key, "asynq:{") && strings.HasSuffix(key, "}:lease")
}
