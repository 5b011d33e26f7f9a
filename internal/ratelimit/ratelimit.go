// Package ratelimit says how fast numbers send. The controller keeps the effective rate of each number in
// Redis, for all workers at once. Send slots are booked on one send schedule per number, and handed to the
// messages that wait. Pairs and PairLog keep Meta's limit for each recipient.
package ratelimit

import (
	_ "embed"
	"fmt"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	// Horizon is how far ahead slots are booked. A longer one saves calls to Redis; with a shorter one
	// an urgent message waits less behind what was booked for others.
	Horizon = 100 * time.Millisecond
	// Lead is the least time from a booking to its first slot: what the answer needs to come back.
	Lead = 2 * time.Millisecond
	// Cap is how late a slot may be used. It is at least Horizon, see slots.lua.
	Cap = 100 * time.Millisecond
	// StandbyLag is how far behind the present the end of a schedule must be before the second worker of
	// the number takes it. If the first one is late for a moment only, the change would lose more: 0.1 s of
	// slots each way.
	StandbyLag = 150 * time.Millisecond

	// guard is kept, in addition to one second, between a send and the rate-th send before it: the
	// request is stamped just before it is written, not when it arrives.
	guard = 7 * time.Millisecond
	// Slack is spread over the slots of a second: they are (1 s + Slack)/rate apart. It is more than
	// guard, or lateness would never decrease.
	Slack = 9 * time.Millisecond

	// Early is how long before its slot a message gets it: the time to write the attempt down, together with
	// those of its neighbours. Where Redis is far it is longer, by what that was seen to take, up to
	// maxPrep.
	Early   = 10 * time.Millisecond
	maxPrep = 500 * time.Millisecond
	// ClassLead is by how much a message goes before one of the next less urgent class that came at the
	// same time. So an urgent message overtakes what is there already, and no message waits for ever.
	ClassLead = 200 * time.Millisecond

	// Increase is the share of the full rate that a number regains each second after Meta refused a message
	// because the number was too fast, and its rate was halved.
	Increase = 0.02
	// RefusalPause is how long a number sends nothing after such a refusal.
	RefusalPause = time.Second

	// clockSet is how far ahead of Redis's clock a time that was now must be, so that the clock was set back
	// since. The clocks of two servers, of which one replaces the other, differ by less.
	clockSet = 5 * time.Second
)

var (
	//go:embed rate.lua
	rateLua string
	// RateLua defines effective_rate() and the constants of this package, for scripts.
	RateLua = fmt.Sprintf("local LEAD, HORIZON, CAP, LAG, SLACK, INCREASE, REFUSAL_PAUSE, CLOCK_SET = %d, %d, %d, %d, %d, %g, %d, %d\n",
		Lead.Microseconds(), Horizon.Microseconds(), Cap.Microseconds(), StandbyLag.Microseconds(),
		Slack.Microseconds(), Increase, RefusalPause.Microseconds(), clockSet.Microseconds()) + rateLua
)

// SlotsLua defines slots(), the booking of slots, for scripts that book slots and fetch tasks in one step.
//
//go:embed slots.lua
var SlotsLua string

// ScheduleKey is the Redis key of a number's send schedule. The scripts derive the other keys of the number
// from it.
func ScheduleKey(s message.Shard, number string) string { return store.Key(s, "line:"+number) }

// RateKey is the Redis key of what was learned and set at run time about the rate of a number: a hash.
func RateKey(s message.Shard, number string) string { return store.Key(s, "pace:"+number) }

// IndexKey is the Redis key of a shard's numbers that have a RateKey: a set.
func IndexKey(s message.Shard) string { return store.Key(s, "paced") }

// Further is how much further ahead than usual slots must be booked where Redis is far, so that
// messages do not miss them: an answer takes half a round trip to come, and a message takes prep to be
// written down. Half of Cap makes up for part of it.
func Further(trip, prep time.Duration) time.Duration { return max(0, trip/2+prep-Cap/2) }
