package message

import "time"

// CampaignProgress is how far a campaign is. All counters are exact: they change together with the records of the messages. A campaign
// without counters does not exist, or no longer.
type CampaignProgress struct {
	Flow
	Accepted time.Time // when its last message was accepted
	Taken    []int     // by minute, the running one first: messages that Meta took
	Counts   []CampaignCount
}

// CampaignCount counts the messages of a campaign that have a number, a state and a template, and, if they ended undelivered, a code and a
// reason.
type CampaignCount struct {
	Number   string `json:"phone_number_id" doc:"Meta's id of the sending number."`
	State    State  `json:"state" doc:"The state. A message in an attempt counts as queued."`
	Code     int    `json:"code,omitempty" doc:"Meta's error code, of messages that ended undelivered."`
	Reason   string `json:"message_reason,omitempty" doc:"Why the messages ended undelivered, if the state does not say it."`
	Template string `json:"template,omitempty" doc:"The template, as name/language."`
	Count    int    `json:"count" doc:"Number of messages."`
}

// Undelivered reports whether a message that is in a state ended without reaching its recipient.
func (s State) Undelivered() bool { return s.Final() && !s.AtMeta() }

// CampaignWait is what the messages of a campaign wait for.
type CampaignWait struct {
	Pending int           // messages that wait for a send slot
	In      time.Duration // until these will have been sent, about, if Short is empty
	Short   []Shortage    // the budgets that do not suffice for these
	Holds   []Hold        // that apply to some or all of its messages

	Cancelled *CancelledCampaign // nil: it is not cancelled

	Settings *CampaignSettings // nil: none are set
	Today    int               // messages that the cap of the settings has counted today
	DayEnds  time.Time         // zero: there is no cap
	Spent    Amount            // with a budget in the settings: what counts as spent of it
}

// CancelledCampaign is a campaign whose messages are refused and cancelled.
type CancelledCampaign struct {
	Flow   `json:"-"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Key    string    `json:"key,omitempty"`
	Reason string    `json:"reason"`
}
