package message

import (
	"slices"
	"time"
)

// Hold stops the sending of messages: those of a number, of one of its templates, with a tag, of a campaign, or all. They keep
// their order, and their deadlines still pass.
type Hold struct {
	Number   string `json:"number,omitempty" doc:"Of this phone number id; absent: of all numbers."`
	Template string `json:"template,omitempty" doc:"Of this template of the number, as name/language."`
	Tag      string `json:"tag,omitempty" doc:"Of messages that were accepted with this tag."`
	Campaign string `json:"campaign,omitempty" doc:"Of messages of this campaign of client."`
	Client   string `json:"client,omitempty" doc:"With campaign: the client of the messages; absent: messages of no client."`

	Reason string    `json:"reason" doc:"Why."`
	Code   int       `json:"code,omitempty" doc:"Meta's error code, if Meta's answer was the reason."`
	By     string    `json:"by" doc:"The name of the operator, or sluice for an automatic hold."`
	Key    string    `json:"key,omitempty" doc:"The name of the API key of the request."`
	Since  time.Time `json:"since" doc:"When it began."`
	Until  time.Time `json:"until,omitzero" doc:"When it ends by itself; absent: it does not."`

	// Probe is how long one message per second is sent after Until, as a test; 0: sending continues at full rate.
	Probe time.Duration `json:"-"`

	// Replaces lets the hold replace any other on the same, however long that lasts, and show its reason too. A hold of
	// the same By stays.
	Replaces bool `json:"-"`
}

// On returns a name for what is held.
func (h Hold) On() string {
	of, at := "", ""
	if h.Number != "" {
		of, at = " of number "+h.Number, " at number "+h.Number
	}
	switch {
	case h.Template != "":
		return "template " + h.Template + of
	case h.Tag != "":
		return "tag " + h.Tag + of
	case h.Campaign != "" && h.Client != "":
		return "campaign " + h.Campaign + " of client " + h.Client + at
	case h.Campaign != "":
		return "campaign " + h.Campaign + at
	case h.Number != "":
		return "number " + h.Number
	}
	return "all"
}

// Concerns reports whether the hold applies to a message.
func (h Hold) Concerns(c Context) bool {
	return (h.Number == "" || h.Number == c.From) && (h.Template == "" || h.Template == c.Template) &&
		(h.Tag == "" || slices.Contains(c.Tags, h.Tag)) && (h.Campaign == "" || h.Flow() == c.Flow())
}

// Flow returns the client and the campaign whose messages are held; zero: the hold is not on a campaign.
func (h Hold) Flow() Flow { return Flow{h.Client, h.Campaign} }

// Whole reports whether the hold is on all messages of its number, or of all numbers.
func (h Hold) Whole() bool { return h.Template == "" && h.Tag == "" && h.Campaign == "" }

// QueueStatus is what a queued message waits for, except what its record says.
type QueueStatus struct {
	Holds       []Hold
	Task        TaskState
	Until       time.Time     // with TaskDelayed: when the task is due
	Ahead       int           // with TaskWaiting: how many messages of its class and flow are before it
	Approximate bool          // Ahead is an upper bound: too many messages are before it to count them
	In          time.Duration // with TaskWaiting: about how long until it leaves
	Quiet       time.Time     // with TaskDelayed: when the quiet hours end that keep it; zero: none does
	Budget      *BudgetUse    // with TaskWaiting: a budget that has too little left for it; nil: there is none
	Limited     bool          // with TaskDelayed: it waits for capacity under the messaging limit of its portfolio
	Elsewhere   bool          // with TaskDelayed: another app owns the conversation; Until is when that ends, if the recipient writes nothing more
	Person      [8]byte       // with Elsewhere: names the recipient
	Rated       bool          // with TaskWaiting: the rate of its campaign lets it leave later than the slots of its number
	Capped      time.Time     // with TaskWaiting: the cap per day of its campaign is reached, and until about when that keeps it; zero: it is not
	Named       string        // the id of a message that it names and that Meta has not accepted yet; empty: none
	Window      Window        // the customer service window of the recipient of a free-form message; empty: the number does not track it
	WindowEnds  time.Time     // with WindowOpen: when it closes, if the recipient writes nothing more
}

// Window is what Sluice knows of the customer service window of a person with a number.
type Window string

// The states of a window.
const (
	WindowOpen    Window = "open"
	WindowClosed  Window = "closed"
	WindowUnknown Window = "unknown" // Sluice may not have seen what opened it
)

// TaskState says where the task of a queued message is.
type TaskState string

// The states of a task.
const (
	TaskWaiting TaskState = "waiting" // it waits for a slot of its number
	TaskDelayed TaskState = "delayed" // it waits for its time
	TaskFetched TaskState = "taken"   // a worker has fetched it
	TaskMissing TaskState = "gone"
)
