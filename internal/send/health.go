package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/retry"
)

const (
	// doubtsInRow is how many attempts of a number without a definite answer, one after the
	// other, mean that Meta is down: from there on the number probes, so that an outage makes
	// few doubts.
	doubtsInRow = 5
	// unknownInRow is how many refusals with codes outside the catalogue, without an acceptance
	// between them, mean that the others would be refused too.
	unknownInRow = 5
	// ProbeFor is how long a number or a template probes unless it is said again. It ends by itself
	// when the worker that would say so is gone.
	ProbeFor = 30 * time.Second
	// probeAgain is how often it is said at most.
	probeAgain = time.Second
	// maxRest is the longest pause of a number whose account is in maintenance: Meta says that a
	// raise of throughput takes a minute, and a move some minutes.
	// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
	maxRest = 5 * time.Minute
	// maxPause is the longest pause of an app, a token or an account that makes too many calls.
	maxPause = time.Hour
	// wellInRow is how many messages of a number Meta took, since another one had a server error,
	// that make a server error the message's own.
	wellInRow = 3
	// failuresMost is how many such errors a message may have before a person decides.
	failuresMost = 5
)

// health is how the attempts of each number went lately, as this worker saw it. Its zero value
// is ready; it is safe for concurrent use.
type health struct {
	mu      sync.Mutex
	numbers map[string]*fortune
}

// fortune is how it goes with a number.
type fortune struct {
	trouble           // of the number itself
	doubts  int       // in a row
	probing time.Time // when it was last said that the number is to probe; zero: it need not
	crowded streak    // of pauses because of its app, token or account

	doubtOf       string // the message of the last doubt
	since, others int    // messages that Meta took since that, and since the last doubt of another message

	templates map[string]*trouble // those that were refused lately
}

// trouble is what was refused of a number or of a template.
type trouble struct {
	held    streak
	unknown int // refusals in a row with codes outside the catalogue
}

// streak is holds one after the other, each longer than the last.
type streak struct {
	n     int
	until time.Time // the end of the last
}

// next is how long to hold after a refusal: what is left of the last hold, for it was under way when
// that began, or a longer hold than that. Least is what Meta asks for.
func (s *streak) next(least time.Duration, backoff func(n int) time.Duration) time.Duration {
	d := time.Until(s.until)
	if d <= 0 {
		s.n++
		d = max(backoff(s.n), least)
		s.until = time.Now().Add(d)
	}
	return d
}

// refused notes a refusal that means that others would be refused too.
func (t *trouble) refused(out message.Outcome, backoff func(n int) time.Duration) time.Duration {
	return t.held.next(out.RetryAfter, backoff)
}

// effect is what follows from an outcome for a number.
type effect struct {
	probe, well bool           // the number is to probe, or need not any more
	on          message.HoldOn // what is to be held; empty: nothing
	hold        time.Duration  // for how long
	pause       time.Duration  // how long all numbers of the same token send nothing; 0: they go on
	mended      bool           // the message's template was held and may be used again
	counts      bool           // a server error is the message's own
}

// of returns what is known of a number. The caller holds h.mu.
func (h *health) of(number string) *fortune {
	f := h.numbers[number]
	if f == nil {
		if h.numbers == nil {
			h.numbers = map[string]*fortune{}
		}
		f = &fortune{templates: map[string]*trouble{}}
		h.numbers[number] = f
	}
	return f
}

func (f *fortune) template(id string) *trouble {
	t := f.templates[id]
	if t == nil {
		t = &trouble{}
		f.templates[id] = t
	}
	return t
}

// answered notes that Meta answers.
func (f *fortune) answered() (well bool) {
	well = !f.probing.IsZero()
	f.doubts, f.probing, f.held = 0, time.Time{}, streak{}
	return well
}

// note takes in an outcome.
func (h *health) note(id string, of message.Context, out message.Outcome, backoff func(n int) time.Duration) (e effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.of(of.From)
	switch {
	case out.Kind.Doubt():
		f.doubts++
		e.counts = f.doubtIsOwn(id) && out.Kind == message.ServerError
		e.probe = f.doubts >= doubtsInRow && time.Since(f.probing) >= probeAgain
		if out.Hold == message.HoldNumber && f.doubts >= doubtsInRow { // what answers for Meta would answer the others too
			e.on, e.hold = message.HoldNumber, f.refused(out, backoff)
		}
	case out.Kind == message.Held && out.Hold == message.HoldNumber:
		e.on, e.probe = message.HoldNumber, true
		e.hold = f.refused(out, backoff)
	case out.Kind == message.Held && out.Hold == message.HoldTemplate && of.Template != "":
		e.on = message.HoldTemplate
		e.hold = f.template(of.Template).refused(out, backoff)
		e.well = f.answered()
	case out.Kind == message.Throttled && out.Limit == message.LimitApp:
		if !time.Now().Before(f.crowded.until) { // else it was under way
			e.pause = f.crowded.next(0, retry.Pauses{First: out.RetryAfter, Max: maxPause}.After)
		}
	case out.Unknown:
		e = f.puzzle(of, out, backoff)
	case out.Kind == message.Transient && out.Code == 0: // no connection: nothing was learned
	case out.Kind == message.Accepted:
		e.well = f.answered()
		f.since++
		f.others++
		f.unknown, f.crowded = 0, streak{until: f.crowded.until}
		if t := f.templates[of.Template]; t != nil && !time.Now().Before(t.held.until) {
			e.mended = t.held.n > 0
			delete(f.templates, of.Template)
		}
	default:
		e.well = f.answered()
	}
	if e.probe {
		f.probing = time.Now()
	}
	return e
}

// puzzle notes a refusal with a code outside the catalogue: some in a row hold the template, or the
// number when they were of several.
func (f *fortune) puzzle(of message.Context, out message.Outcome, backoff func(n int) time.Duration) (e effect) {
	f.doubts = 0
	f.unknown++
	if of.Template != "" {
		t := f.template(of.Template)
		if t.unknown++; t.unknown >= unknownInRow {
			e.on, e.hold = message.HoldTemplate, t.refused(out, backoff)
			f.unknown = 0 // it is the template, as far as these tell
			return e
		}
	}
	if f.unknown >= unknownInRow {
		e.on, e.hold, e.probe = message.HoldNumber, f.refused(out, backoff), true
	}
	return e
}

// doubtIsOwn tells whether the number is well otherwise, so that the doubt is the message's own: Meta
// took others since another message had a doubt.
func (f *fortune) doubtIsOwn(id string) bool {
	if id != f.doubtOf {
		f.doubtOf, f.others = id, f.since
	}
	f.since = 0
	return f.others >= wellInRow
}

// crowd notes that numbers probe after a pause.
func (h *health) crowd(numbers []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, number := range numbers {
		h.of(number).probing = time.Now()
	}
}

// pace lets what came of an attempt have its effect on its number.
func (s *Sender) pace(ctx context.Context, a message.Attempt, out message.Outcome) effect {
	number := a.Message.From
	e := s.health.note(a.ID, a.Message, out, s.o.Backoff)
	var err error
	switch {
	case out.Kind == message.Throttled && out.Limit == message.LimitNumber:
		_, err = s.o.Paces.Throttled(ctx, number)
	case out.Limit == message.LimitRest:
		err = s.o.Paces.Pause(ctx, number, min(out.RetryAfter, maxRest))
	case e.pause > 0:
		err = s.pauseAll(ctx, number, out, e.pause)
	case e.probe:
		// While it is held nothing is sent: what counts is how it begins again.
		err = s.o.Paces.Probe(ctx, number, e.hold+ProbeFor)
	case e.well:
		err = s.o.Paces.Recovered(ctx, number)
	}
	if err != nil {
		s.o.Log.Error("cannot change the effective rate", "phone_number_id", number, "err", err)
	}
	if e.mended {
		s.o.TemplateAccepted(ctx, number, a.Message.Template)
	}
	return e
}

// pauseAll pauses all numbers that share a token or an account. They probe afterwards.
func (s *Sender) pauseAll(ctx context.Context, number string, out message.Outcome, d time.Duration) error {
	numbers := s.o.Siblings(ctx, number)
	s.health.crowd(numbers)
	for _, n := range numbers {
		if err := s.o.Paces.Pause(ctx, n, d); err != nil {
			return err
		}
		if err := s.o.Paces.Probe(ctx, n, d+ProbeFor); err != nil {
			return err
		}
	}
	s.o.Log.Warn("numbers paused: Meta throttles their token or account", "phone_number_id", number,
		"numbers", len(numbers), "code", out.Code, "seconds", d.Seconds())
	return nil
}
