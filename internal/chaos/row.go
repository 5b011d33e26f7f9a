package chaos

import (
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// row is a row of the fault matrix.
type row struct {
	id    string
	fault string        // in words
	n     int           // messages
	takes time.Duration // about this long on two cores
	extra bool          // runs only when named, and in long runs
	setup setup
	// play breaks something while messages are sent, waits until everything has ended (run.settle) and
	// checks what only this row promises. Then the invariants are checked.
	play func(*run)
	// lacks says what Sluice lacks today that the row needs. The row runs, but not in CI.
	lacks string
	// control marks a row without one of Sluice's mechanisms, so that messages must be sent twice, or with loses be lost.
	control, loses bool
	// alone runs a row that sends no messages through Sluice, in a world without programs.
	alone bool
	// mixed marks a row that needs Options.Previous. It begins with the programs of that version.
	mixed bool
}

// setup describes the world of a row. Zero fields mean the default.
type setup struct {
	workers  int           // 2
	split    bool          // workers only send; run.reconciler starts a reconciler
	numbers  int           // 4
	rate     int           // of each number; 100
	learn    bool          // the configuration leaves the rates to Meta
	window   time.Duration // the in-doubt window; 4 s
	repeat   time.Duration // the webhook retry window; 4 s
	resend   bool          // the in-doubt policy is resend; else park
	relaxed  bool          // appendfsync everysec
	late     bool          // no worker runs at first
	linked   bool          // the workers reach Redis through run.link
	redis    []string      // further arguments of redis-server
	sentinel bool          // a master, two replicas and three Sentinels; an answered write is on two of them
	fsync    bool          // with sentinel: an answered write is on the master only
	cluster  bool          // three masters with a replica each; an answered write is on both
	faults   graphsim.Faults
	webhook  graphsim.Webhook
	settings map[string]any
}

// quick is the usual time that Meta takes to answer.
var quick = graphsim.Faults{Latency: graphsim.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}}

func (s setup) withDefaults() setup {
	if s.workers == 0 {
		s.workers = 2
	}
	if s.numbers == 0 {
		s.numbers = 4
	}
	if s.rate == 0 {
		s.rate = 100
	}
	if s.window == 0 {
		s.window = 4 * time.Second
	}
	if s.repeat == 0 {
		s.repeat = 4 * time.Second
	}
	if s.faults == (graphsim.Faults{}) {
		s.faults = quick
	}
	if s.webhook.Delay == (graphsim.Span{}) {
		s.webhook.Delay = graphsim.Span{Min: 150 * time.Millisecond, Max: 400 * time.Millisecond} // after the answer
	}
	if s.webhook.Batch == 0 {
		s.webhook.Batch = 20
	}
	if s.webhook.Retry == (graphsim.Span{}) {
		s.webhook.Retry = graphsim.Span{Min: 100 * time.Millisecond, Max: time.Second}
	}
	return s
}

// class returns the class of a row's messages. The configuration gives each of the two classes its policy.
func (s setup) class() message.Class {
	if s.resend {
		return message.Authentication
	}
	return message.Service
}
