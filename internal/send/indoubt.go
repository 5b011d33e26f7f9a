package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/internal/message"
)

const (
	// aliveFor is how long after a webhook the channel counts as alive. A message that Meta took longer ago than that,
	// without a webhook since, shows that a status may be missing.
	aliveFor = time.Minute
	// resendLeft is the least time before the deadline in which a resend is useful.
	resendLeft = time.Minute
	// resendShare and resendFew limit the resends of a minute: more of them mean a problem at Meta or with our webhooks,
	// and then resends would create duplicates.
	resendShare = 100 // one of this many sends
	resendFew   = 5   // with any number of sends
	// lookAgain is how long an in-doubt message that cannot be decided yet waits for the next check.
	lookAgain = 10 * time.Second
	// proofLag is how far the proof that no webhook was missed may normally be behind the clock.
	proofLag = 5 * time.Second
)

// windowsEnded decides about the in-doubt messages whose window has ended. The watermark says which windows have ended,
// not the clock: as long as statuses are still in the stream, no policy is applied.
func (s *Sweeper) windowsEnded(ctx context.Context, shard message.Shard, now time.Time) error {
	mark, err := s.Watermark(ctx, shard)
	if err != nil {
		return err
	}
	if mark.After(now.Add(clockJump)) {
		return nil // written before the server's clock was set back: the reconciler soon writes another one
	}
	ended, err := s.Open.WindowEnded(ctx, shard, mark, sweepMost)
	errs := []error{err}
	var wait []string
	next := mark.Add(lookAgain)
	c := channel{Sweeper: s, shard: shard, now: now, numbers: map[string]channelState{}}
	for _, o := range ended {
		m, again, err := s.settle(ctx, o, now, &c)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !again.IsZero():
			wait = append(wait, o.ID)
			if again.Before(next) {
				next = again
			}
		case m.To != message.Queued:
			errs = append(errs, s.move(ctx, o, m))
		default:
			if err := s.Requeue(ctx, o, m); err != nil {
				errs = append(errs, fmt.Errorf("requeue %s: %w", o.ID, err)) // a failure does not stop the others
				continue
			}
			if m.Resend {
				s.resends.add()
			}
			s.note(o, m)
		}
	}
	if len(wait) > 0 {
		s.metrics.postponed.Add(float64(len(wait)))
		errs = append(errs, s.Changes.Postpone(ctx, shard, wait, next))
	}
	return errors.Join(errs...)
}

// settle returns what becomes of an in-doubt message without a status, or when to check it again: as long as a webhook
// may have been missed, a missing status proves nothing. Parking is always allowed, and the only choice left at the deadline.
func (s *Sweeper) settle(ctx context.Context, o message.Open, now time.Time, c *channel) (m message.Move, again time.Time, err error) {
	p := s.Policy(o.Message.From, o.Message.Class)
	left := o.ExpiresAt.Sub(now)
	park := message.Move{To: message.Parked, Reason: o.Reason}
	m = message.Move{To: message.Failed, Reason: message.ReasonUndetermined}
	sound := (*channel).alive
	switch {
	case o.Reason == message.ReasonServerError && o.Failures >= failuresMost:
		// The number works: only this message gets the error, again and again.
		return message.Move{To: message.Parked, Reason: message.ReasonAttempts}, time.Time{}, nil
	case o.Reason == message.ReasonServerError && left > 0:
		// Meta takes few of these, and reports nothing during an outage: it is enough that no status is missing.
		m, sound = message.Move{To: message.Queued, Reason: message.ReasonServerError}, (*channel).noneMissing
	case p.InDoubtPolicy == message.Resend && o.Resent == 0 && left >= resendLeft:
		m = message.Move{To: message.Queued, Reason: message.ReasonPolicy, Resend: true}
	case p.InDoubtPolicy == message.Park:
		return park, time.Time{}, nil
	}
	ok, again, err := sound(c, ctx, o, p.RepeatWindow)
	switch {
	case err != nil:
		return message.Move{}, time.Time{}, err
	case !ok && left <= 0:
		return park, time.Time{}, nil
	case !ok:
		return message.Move{}, again, nil
	case m.Resend && s.resends.count() >= max(resendFew, s.Sends()/resendShare):
		s.metrics.refused.Inc()
		return message.Move{To: message.Parked, Reason: message.ReasonResends}, time.Time{}, nil
	}
	return m, time.Time{}, nil
}

// channel is what one pass knows about whether Meta's webhooks reach us.
type channel struct {
	*Sweeper
	shard   message.Shard
	now     time.Time
	numbers map[string]channelState
}

// channelState has the signs that webhooks arrive.
type channelState struct {
	message.Channel
	awaiting bool // Meta took a message more than aliveFor ago, and no webhook came since
}

func (c *channel) of(ctx context.Context, number string) (channelState, error) {
	if s, known := c.numbers[number]; known {
		return s, nil
	}
	var s channelState
	var err error
	if s.Channel, err = c.Channel(ctx, number); err != nil {
		return s, err
	}
	missing, err := c.Open.CountAwaiting(ctx, c.shard, s.LastWebhook, c.now.Add(-aliveFor))
	s.awaiting = missing > 0
	c.numbers[number] = s
	return s, err
}

// received reports whether a webhook came in the last minute, or a status of the number since the message is in doubt.
func (s channelState) received(o message.Open, now time.Time) bool {
	return now.Sub(s.LastWebhook) <= aliveFor || s.LastStatus.After(o.Since)
}

// alive reports whether the status of an in-doubt message would have reached us: webhooks arrive, and none was refused
// or missed in that time. If not, again is when to check again.
func (c *channel) alive(ctx context.Context, o message.Open, repeat time.Duration) (ok bool, again time.Time, err error) {
	s, err := c.of(ctx, o.Message.From)
	if err != nil {
		return false, again, err
	}
	if !s.received(o, c.now) {
		return false, c.now.Add(lookAgain), nil
	}
	ok, again = s.unbroken(o, repeat, c.now)
	return ok, again, nil
}

// noneMissing is like alive, but it also accepts a channel without any traffic.
func (c *channel) noneMissing(ctx context.Context, o message.Open, repeat time.Duration) (ok bool, again time.Time, err error) {
	s, err := c.of(ctx, o.Message.From)
	switch {
	case err != nil:
		return false, again, err
	case !s.received(o, c.now) && s.awaiting:
		return false, c.now.Add(lookAgain), nil
	case !s.Reported: // no webhook program runs in this installation
		return true, again, nil
	}
	ok, again = s.unbroken(o, repeat, c.now)
	return ok, again, nil
}

// unbroken reports whether no webhook was refused or missed from the begin of an attempt to the end of its in-doubt
// window, or since then for so long that Meta has repeated it. If not, again is when to check again.
func (s channelState) unbroken(o message.Open, repeat time.Duration, now time.Time) (ok bool, again time.Time) {
	began := o.Began
	if began.IsZero() {
		began = o.Since.Add(-attemptMax)
	}
	need := o.NextAt
	if !s.Gap.Before(began) {
		need = s.Gap.Add(repeat)
	}
	switch {
	case !s.Open.IsZero() && !s.Open.Before(need):
		return true, again
	case now.Sub(s.Open) <= proofLag && now.Sub(need) <= proofLag:
		// It may be proven soon.
		if need.Before(now) {
			need = now
		}
		return false, need
	}
	return false, now.Add(lookAgain)
}
