package queue

import (
	"strings"
)

// This file has all that we know of the scripts and of the heartbeats of asynq v0.26.0. Tests compare it with
// asynq itself, and a worker that starts does too: see package dispatch.

// virtual is the one queue that asynq's server is configured with. It does not exist in
// Redis: the gate answers for it.
const virtual = "gate"

// Call is what asynq's server does with a script that it runs.
type Call int

// The calls. Those that a server makes of its own accord, or with one task, have names.
const (
	Other     Call = iota
	Dequeue        // from the virtual queue: the gate returns a task
	Expired        // the list of the virtual queue's expired leases, of which there are none
	Idle           // anything else about the virtual queue: there is nothing
	Heartbeat      // the server's list of running tasks
	Done           // the acknowledgement of a task that is finished
	Retry          // a task runs again later
	Requeue        // a task runs again at once, because the server stops
)

func (c Call) String() string {
	switch c {
	case Dequeue:
		return "dequeue"
	case Expired:
		return "look for expired leases"
	case Heartbeat:
		return "heartbeat"
	case Done:
		return "acknowledgement"
	case Retry:
		return "retry"
	case Requeue:
		return "requeue"
	}
	return "call"
}

// CallOf recognises a call by the keys of its script.
func CallOf(keys []string) Call {
	if len(keys) == 0 {
		return Other
	}
	rest, ours := strings.CutPrefix(keys[0], "asynq:{"+virtual+"}:")
	switch {
	case ours && rest == "pending" && len(keys) == 4:
		return Dequeue
	case ours && rest == "lease":
		return Expired
	case ours:
		return Idle
	case len(keys) == 2 && strings.HasPrefix(keys[0], "asynq:servers:"):
		return Heartbeat
	case len(keys) == 5 && ends(keys, ":active", ":lease", "", "", ":processed") && strings.Contains(keys[2], "}:t:"):
		return Done
	case len(keys) == 8 && ends(keys, "", ":active", ":lease", ":retry") && strings.Contains(keys[0], "}:t:"):
		return Retry
	case len(keys) == 4 && ends(keys, ":active", ":lease", ":pending") && strings.Contains(keys[3], "}:t:"):
		return Requeue
	}
	return Other
}

// ends reports whether the first keys end as given.
func ends(keys []string, with ...string) bool {
	for i, end := range with {
		if !strings.HasSuffix(keys[i], end) {
			return false
		}
	}
	return true
}

// Ended is what asynq's server does with a task whose handler has returned, or when it stops.
type Ended struct {
	Call   Call // Done, Retry or Requeue
	Number string
	ID     string // asynq's
	Text   string // of Retry: asynq's new encoding of the task
	At     int64  // of Retry: when it is to run again, in Unix seconds
}

// ended reads a call of Done, Retry or Requeue.
func ended(c Call, keys []string, args []any) Ended {
	key := keys[0]
	switch c {
	case Done:
		key = keys[2]
	case Requeue:
		key = keys[3]
	}
	queue, id, _ := strings.Cut(strings.TrimPrefix(key, "asynq:{"), "}:t:")
	e := Ended{Call: c, Number: NumberOf(queue), ID: id}
	if c == Retry && len(args) > 2 {
		text, _ := args[1].([]byte)
		e.Text = string(text)
		e.At, _ = args[2].(int64)
	}
	return e
}

// heartbeatRows caps the running tasks that a server lists in its heartbeat: thousands of rows
// would stop Redis for tens of milliseconds, and no program reads them.
func heartbeatRows(args []any) []any {
	const most = 100
	return args[:min(len(args), 2+2*most)]
}

// isLease reports whether a sorted set's key is that of a queue's leases.
func isLease(key string) bool {
	return strings.HasPrefix(key, "asynq:{") && strings.HasSuffix(key, "}:lease")
}

// isServers reports whether a key is one of asynq's lists of servers.
func isServers(key string) bool { return key == "asynq:servers" || key == "asynq:workers" }
