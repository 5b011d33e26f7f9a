package message

import (
	"slices"
	"time"
)

// Hold keeps messages from being sent: those of a number, of one template of it, with a tag, or
// all there are. They wait in their order; their deadlines go on.
type Hold struct {
	Number   string `json:"number,omitempty" doc:"Of this phone number id; absent: of all numbers."`
	Template string `json:"template,omitempty" doc:"Of this template of the number, as name/language."`
	Tag      string `json:"tag,omitempty" doc:"What was accepted with this tag."`

	Reason string    `json:"reason" doc:"Why."`
	Code   int       `json:"code,omitempty" doc:"Meta's error code, when an answer of Meta's was the reason."`
	By     string    `json:"by" doc:"Who ordered it; sluice: it did so by itself."`
	Key    string    `json:"key,omitempty" doc:"The name of the API key by which it was ordered."`
	Since  time.Time `json:"since" doc:"When it began."`
	Until  time.Time `json:"until,omitzero" doc:"When it ends by itself; absent: it does not."`

	// Probe is for how long after Until one message at a time goes out, to find out; 0: all go.
	Probe time.Duration `json:"-"`
}

// On names what is held, for people.
func (h Hold) On() string {
	of := ""
	if h.Number != "" {
		of = " of number " + h.Number
	}
	switch {
	case h.Template != "":
		return "template " + h.Template + of
	case h.Tag != "":
		return "tag " + h.Tag + of
	case h.Number != "":
		return "number " + h.Number
	}
	return "all"
}

// Concerns tells whether the hold keeps a message.
func (h Hold) Concerns(c Context) bool {
	return (h.Number == "" || h.Number == c.From) && (h.Template == "" || h.Template == c.Template) &&
		(h.Tag == "" || slices.Contains(c.Tags, h.Tag))
}

// Standing is what keeps a queued message, beside its own record.
type Standing struct {
	Holds []Hold
	Task  TaskState
	Until time.Time     // with TaskDelayed: when its time comes
	Ahead int           // with TaskWaiting: how many of its class are before it
	About bool          // Ahead is at most that: the message stands too far behind to be counted
	In    time.Duration // with TaskWaiting: about how long until it leaves
}

// TaskState is where the task of a queued message is.
type TaskState string

// Where a task may be.
const (
	TaskWaiting TaskState = "waiting" // for its number's next slots
	TaskDelayed TaskState = "delayed" // for its time
	TaskTaken   TaskState = "taken"   // in a worker's hands
	TaskGone    TaskState = "gone"
)
