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
	takes time.Duration // about, on two cores
	extra bool          // played only when named, and by long runs
	setup setup
	// play breaks things while messages go out, waits until all is quiet (run.settle) and
	// checks what only this row promises. The invariants are held against every row after it.
	play func(*run)
	// lacks says what Sluice lacks today that the row needs: it is played, and left out of CI.
	lacks string
	// control marks a row that lacks one of Sluice's means, so that messages must be sent twice.
	control bool
	// alone plays a row that sends no messages through Sluice, in a world without programs.
	alone bool
}

// setup is what a row's world is like. Zero fields mean the default.
type setup struct {
	workers  int           // 2
	split    bool          // workers only send; run.reconciler starts what folds
	numbers  int           // 4
	rate     int           // of each number; 100
	learn    bool          // the configuration leaves the rates to Meta
	window   time.Duration // of a doubt; 4 s
	repeat   time.Duration // how long Meta's repeats are awaited; 4 s
	resend   bool          // policy after a doubt: send again, once; else park
	relaxed  bool          // appendfsync everysec
	late     bool          // no worker runs at first
	linked   bool          // the workers reach Redis by run.link
	redis    []string      // further arguments of redis-server
	sentinel bool          // a master, a replica and three Sentinels; an answered write is on both
	cluster  bool          // three masters with a replica each, likewise
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

// class is that of a row's messages: the configuration gives each of the two a policy.
func (s setup) class() message.Class {
	if s.resend {
		return message.Authentication
	}
	return message.Service
}
