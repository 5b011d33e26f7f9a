package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// doubtsInRow is how many attempts of a number without a definite answer, one after the
	// other, mean that Meta is down: from there on the number probes, so that an outage makes
	// few doubts.
	doubtsInRow = 5
	// probeFor is how long a number probes unless it is said again. It ends by itself when the
	// worker that would say so is gone.
	probeFor = 30 * time.Second
	// probeAgain is how often it is said at most.
	probeAgain = time.Second
	// maxRest is the longest pause of a number whose account is in maintenance: Meta says that a
	// raise of throughput takes a minute at most.
	// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
	maxRest = time.Minute
)

// health is how the attempts of each number went lately, as this worker saw it. Its zero value
// is ready; it is safe for concurrent use.
type health struct {
	mu      sync.Mutex
	numbers map[string]*streak
}

// streak is what came in a row.
type streak struct {
	doubts, held int
	until        time.Time // the end of the last hold
	probing      time.Time // when it was last said that the number is to probe; zero: it need not
}

// note takes in an outcome. It returns what is to be said of the number, to probe or that it is
// well again, and how long it is to be held: longer each time that it is refused after a hold.
// What was under way when the hold began waits for its end.
func (h *health) note(number string, out message.Outcome, backoff func(n int) time.Duration) (probe, well bool, hold time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.numbers[number]
	if s == nil {
		if h.numbers == nil {
			h.numbers = map[string]*streak{}
		}
		s = &streak{}
		h.numbers[number] = s
	}
	switch {
	case out.Kind.Doubt():
		s.doubts++
		probe = s.doubts >= doubtsInRow && time.Since(s.probing) >= probeAgain
		// What answers for Meta would answer the rest of the backlog just the same.
		if out.Hold == message.HoldNumber && s.doubts >= doubtsInRow {
			hold = s.hold(backoff)
		}
	case out.Kind == message.Held && out.Hold != message.HoldTemplate:
		probe = true
		hold = s.hold(backoff)
	case out.Kind == message.Transient && out.Code == 0: // no connection: nothing was learned
	default:
		well = !s.probing.IsZero()
		*s = streak{}
	}
	if probe {
		s.probing = time.Now()
	}
	return probe, well, hold
}

// hold returns how long the number is to be held: longer each time that it is refused after a hold.
func (s *streak) hold(backoff func(n int) time.Duration) time.Duration {
	left := time.Until(s.until)
	if left <= 0 {
		s.held++
		left = backoff(s.held)
		s.until = time.Now().Add(left)
	}
	return left
}

// pace lets what came of an attempt have its effect on its number. It returns how long the
// number is to be held.
func (s *Sender) pace(ctx context.Context, number string, out message.Outcome) time.Duration {
	probe, well, hold := s.health.note(number, out, s.o.Backoff)
	var err error
	switch {
	case out.Kind == message.Throttled && out.Limit == message.LimitNumber:
		_, err = s.o.Paces.Throttled(ctx, number)
	case out.Kind == message.Throttled && out.Limit == message.LimitRest:
		err = s.o.Paces.Pause(ctx, number, min(out.RetryAfter, maxRest))
	case probe:
		// While it is held nothing is sent: what counts is how it begins again.
		err = s.o.Paces.Probe(ctx, number, hold+probeFor)
	case well:
		err = s.o.Paces.Recovered(ctx, number)
	}
	if err != nil {
		s.o.Log.Error("pace not changed", "phone_number_id", number, "err", err)
	}
	return hold
}
