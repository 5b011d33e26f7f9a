package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/internal/message"
)

const (
	// aliveFor is how long after a webhook the channel counts as alive; what Meta took longer
	// ago than that without a word of it is owed.
	aliveFor = time.Minute
	// resendLeft is the least time before the deadline in which a resend is worth it.
	resendLeft = time.Minute
	// resendShare and resendFew bound the resends of a minute: more of them mean that something
	// is wrong at Meta or with our webhooks, and then repeating is the last thing to do.
	resendShare = 100 // one of so many sends
	resendFew   = 5   // however few sends there were
	// lookAgain is when a doubt that may not be settled yet is looked at again.
	lookAgain = 10 * time.Second
	// proofLag is how far the proof that the channel is open may lie behind the clock while all is well.
	proofLag = 5 * time.Second
)

// doubts ends the doubts whose window has passed. What has passed is told by the watermark,
// not by the clock: while evidence is still on its way through the stream, no policy is
// applied.
func (s *Sweeper) doubts(ctx context.Context, shard message.Shard, now time.Time) error {
	mark, err := s.Watermark(ctx, shard)
	if err != nil {
		return err
	}
	if mark.After(now.Add(clockJump)) {
		return nil // written before somebody set the server's clock back: the reconciler soon writes another
	}
	doubts, err := s.Open.Doubts(ctx, shard, mark, sweepMost)
	errs := []error{err}
	var wait []string
	next := mark.Add(lookAgain)
	c := channel{Sweeper: s, shard: shard, now: now, numbers: map[string]signs{}}
	for _, o := range doubts {
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
				errs = append(errs, fmt.Errorf("requeue %s: %w", o.ID, err)) // one that fails does not keep the others
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

// settle says what becomes of a doubt without evidence, or when to look at it again: as long as Meta's
// report may have been missed, silence is no evidence. To ask a person is always allowed, and all that
// is left at the deadline.
func (s *Sweeper) settle(ctx context.Context, o message.Open, now time.Time, c *channel) (m message.Move, again time.Time, err error) {
	p := s.Policy(o.Message.From, o.Message.Class)
	left := o.ExpiresAt.Sub(now)
	park := message.Move{To: message.Parked, Reason: o.Reason}
	m = message.Move{To: message.Failed, Reason: message.ReasonUndetermined}
	sound := (*channel).alive
	switch {
	case o.Reason == message.ReasonServerError && o.Failures >= failuresMost:
		// The number is well: only this message meets the error, time and again.
		return message.Move{To: message.Parked, Code: o.Code, Reason: message.ReasonAttempts}, time.Time{}, nil
	case o.Reason == message.ReasonServerError && left > 0:
		// Most of these were not taken, and in an outage of Meta's nothing is reported: it is
		// enough that nothing is owed.
		m, sound = message.Move{To: message.Queued, Reason: message.ReasonServerError}, (*channel).notSilent
	case p.OnDoubt == message.Resend && o.Resent == 0 && left >= resendLeft:
		m = message.Move{To: message.Queued, Reason: message.ReasonPolicy, Resend: true}
	case p.OnDoubt == message.Park:
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

// channel is what one pass knows of whether Meta's webhooks reach us.
type channel struct {
	*Sweeper
	shard   message.Shard
	now     time.Time
	numbers map[string]signs
}

// signs are the signs of life of the channel.
type signs struct {
	message.Channel
	owed bool // Meta took a message, more than aliveFor ago, and was not heard since
}

func (c *channel) of(ctx context.Context, number string) (signs, error) {
	if s, known := c.numbers[number]; known {
		return s, nil
	}
	var s signs
	var err error
	if s.Channel, err = c.Channel(ctx, number); err != nil {
		return s, err
	}
	owed, err := c.Open.Owed(ctx, c.shard, s.LastWebhook, c.now.Add(-aliveFor))
	s.owed = owed > 0
	c.numbers[number] = s
	return s, err
}

// heard tells whether webhooks came in the last minute, or one of a later status of the same number did
// since a doubt began.
func (s signs) heard(o message.Open, now time.Time) bool {
	return now.Sub(s.LastWebhook) <= aliveFor || s.LastStatus.After(o.Since)
}

// alive tells whether evidence of a doubt would have reached us: Meta was heard, and no delivery was
// refused or missed meanwhile. If not, again is when to look again.
func (c *channel) alive(ctx context.Context, o message.Open, repeat time.Duration) (ok bool, again time.Time, err error) {
	s, err := c.of(ctx, o.Message.From)
	if err != nil {
		return false, again, err
	}
	if !s.heard(o, c.now) {
		return false, c.now.Add(lookAgain), nil
	}
	ok, again = s.open(o, repeat, c.now)
	return ok, again, nil
}

// notSilent also believes in a channel that had nothing to carry.
func (c *channel) notSilent(ctx context.Context, o message.Open, repeat time.Duration) (ok bool, again time.Time, err error) {
	s, err := c.of(ctx, o.Message.From)
	switch {
	case err != nil:
		return false, again, err
	case !s.heard(o, c.now) && s.owed:
		return false, c.now.Add(lookAgain), nil
	case !s.Reported: // nobody takes webhooks here
		return true, again, nil
	}
	ok, again = s.open(o, repeat, c.now)
	return ok, again, nil
}

// open tells whether no delivery of Meta's was refused or missed from the beginning of an attempt to the
// end of its doubt's window, or since then for so long that Meta has repeated it. If not, again is when
// to look again.
func (s signs) open(o message.Open, repeat time.Duration, now time.Time) (ok bool, again time.Time) {
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
		// Soon it may be proven.
		if need.Before(now) {
			need = now
		}
		return false, need
	}
	return false, now.Add(lookAgain)
}
