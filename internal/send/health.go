package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/retry"
)

const (
	// inDoubtInRow is how many consecutive attempts of a number without a definite answer mean that Meta is down: from there
	// on the number probes, so an outage makes few in-doubt messages.
	inDoubtInRow = 5
	// unknownInRow is how many refusals with codes outside the catalogue, or without a code, and without an acceptance
	// between them, mean that other messages would be refused too.
	unknownInRow = 5
	// ProbeFor is how long a number or a template probes. A worker repeats the call while the problem lasts, so probing
	// ends by itself if that worker dies.
	ProbeFor = 30 * time.Second
	// probeAgain is the least time between two such calls.
	probeAgain = time.Second
	// maxRest is the longest pause of a number whose account is in maintenance: Meta says that a higher throughput takes a
	// minute, and a move some minutes. https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
	maxRest = 5 * time.Minute
	// maxPause is the longest pause of an app, a token or an account that makes too many calls.
	maxPause = time.Hour
	// takenInRow is how many messages of a number Meta must take, since another message had a server error, to make a
	// server error count as the message's own.
	takenInRow = 3
	// failuresMost is how many such errors a message may have before an operator decides.
	failuresMost = 5
)

// health is how the latest attempts of each number ended, as this worker saw it. The zero value is ready; it is safe for
// concurrent use.
type health struct {
	mu      sync.Mutex
	numbers map[string]*numberHealth
}

// numberHealth is the health of one number.
type numberHealth struct {
	refusals           // of the number itself
	inDoubt  int       // in a row
	probing  time.Time // when the number was last set to probe; zero: it does not probe
	paused   streak    // pauses because of its app, token or account

	inDoubtID     string // the latest message in doubt
	since, others int    // messages that Meta took since that one, and since the latest in-doubt result of another message

	uncodedID string // the latest message that was refused without a known code, and is tried again

	templates map[string]*refusals // those refused recently
}

// refusals are the refusals of a number or of a template.
type refusals struct {
	held    streak
	unknown int // consecutive refusals with codes outside the catalogue, or without a code
}

// streak is consecutive holds, each longer than the one before.
type streak struct {
	n           int
	from, until time.Time // the last one
}

// before reports whether the last hold, if there was one, began before a time.
func (s *streak) before(at time.Time) bool { return s.from.Before(at) }

// next returns how long to hold after a refusal: the rest of the present hold, if the attempt was running when that began,
// or a new hold that is longer. Least is the time that Meta demands.
func (s *streak) next(least time.Duration, backoff func(n int) time.Duration) time.Duration {
	d := time.Until(s.until)
	if d <= 0 {
		s.n++
		d = max(backoff(s.n), least)
		s.from = time.Now()
		s.until = s.from.Add(d)
	}
	return d
}

// refused records a refusal that would meet other messages too.
func (t *refusals) refused(out message.Outcome, backoff func(n int) time.Duration) time.Duration {
	return t.held.next(out.RetryAfter, backoff)
}

// effect is what follows from an outcome for a number.
type effect struct {
	probe, recovered bool           // the number starts or ends probing
	on               message.HoldOn // what to hold; empty: nothing
	hold             time.Duration  // for how long
	pause            time.Duration  // how long all numbers with the same token pause; 0: no pause
	templateAccepted bool           // the template was held, and Meta takes it again
	counts           bool           // the server error counts as the message's own
}

// of returns the health of a number. The caller holds h.mu.
func (h *health) of(number string) *numberHealth {
	f := h.numbers[number]
	if f == nil {
		if h.numbers == nil {
			h.numbers = map[string]*numberHealth{}
		}
		f = &numberHealth{templates: map[string]*refusals{}}
		h.numbers[number] = f
	}
	return f
}

func (f *numberHealth) template(id string) *refusals {
	t := f.templates[id]
	if t == nil {
		t = &refusals{}
		f.templates[id] = t
	}
	return t
}

// answered records that Meta answers. It returns whether the number was probing.
func (f *numberHealth) answered() (well bool) {
	well = !f.probing.IsZero()
	f.inDoubt, f.probing, f.held = 0, time.Time{}, streak{}
	return well
}

// note records an outcome and returns its effect.
func (h *health) note(id string, of message.Context, out message.Outcome, backoff func(n int) time.Duration) (e effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.of(of.From)
	switch {
	case out.Kind.InDoubt():
		f.inDoubt++
		e.counts = f.isOwnError(id) && out.Kind == message.ServerError && out.Limit != message.LimitRest
		e.probe = f.inDoubt >= inDoubtInRow && time.Since(f.probing) >= probeAgain
		if out.Hold == message.HoldNumber && f.inDoubt >= inDoubtInRow { // the server that answers in Meta's place would answer the others in the same way
			e.on, e.hold = message.HoldNumber, f.refused(out, backoff)
		}
	case out.Kind == message.Held && out.Unknown:
		e = f.uncoded(id, out, backoff)
	case out.Kind == message.Held && out.Hold == message.HoldNumber:
		e.on, e.probe = message.HoldNumber, true
		e.hold = f.refused(out, backoff)
	case out.Kind == message.Held && out.Hold == message.HoldTemplate && of.Template != "":
		e.on = message.HoldTemplate
		e.hold = f.template(of.Template).refused(out, backoff)
		e.recovered = f.answered()
	case out.Kind == message.Throttled && out.Limit == message.LimitApp:
		if !time.Now().Before(f.paused.until) { // otherwise the attempt was running when the pause began
			e.pause = f.paused.next(0, retry.Pauses{First: out.RetryAfter, Max: maxPause}.After)
		}
	case out.Unknown:
		e = f.unknownCode(of, out, backoff)
	case out.Kind == message.Transient && out.Code == 0: // no connection: this proves nothing
	case out.Kind == message.Accepted:
		e.recovered = f.answered()
		f.since++
		f.others++
		f.unknown, f.paused = 0, streak{until: f.paused.until}
		if t := f.templates[of.Template]; t != nil && !time.Now().Before(t.held.until) {
			e.templateAccepted = t.held.n > 0
			delete(f.templates, of.Template)
		}
	default:
		e.recovered = f.answered()
	}
	if e.probe {
		f.probing = time.Now()
	}
	return e
}

// unknownCode records a refusal with a code outside the catalogue: several in a row hold the template, or the number if
// they concern several templates.
func (f *numberHealth) unknownCode(of message.Context, out message.Outcome, backoff func(n int) time.Duration) (e effect) {
	f.inDoubt = 0
	f.unknown++
	if of.Template != "" {
		t := f.template(of.Template)
		if t.unknown++; t.unknown >= unknownInRow {
			e.on, e.hold = message.HoldTemplate, t.refused(out, backoff)
			f.unknown = 0 // so far only this template is affected
			return e
		}
	}
	if f.unknown >= unknownInRow {
		e.on, e.hold, e.probe = message.HoldNumber, f.refused(out, backoff), true
	}
	return e
}

// uncoded records an answer that refuses a message and does not say why: a proxy may refuse this one message only. So
// one message counts once, and the answers to several messages in a row hold the number.
func (f *numberHealth) uncoded(id string, out message.Outcome, backoff func(n int) time.Duration) (e effect) {
	if id != f.uncodedID {
		f.uncodedID = id
		f.unknown++
	}
	if f.unknown >= unknownInRow {
		e.on, e.hold, e.probe = message.HoldNumber, f.refused(out, backoff), true
	}
	return e
}

// isOwnError reports whether the number works otherwise, so that the error concerns the message only: Meta took others
// since another message was in doubt.
func (f *numberHealth) isOwnError(id string) bool {
	if id != f.inDoubtID {
		f.inDoubtID, f.others = id, f.since
	}
	f.since = 0
	return f.others >= takenInRow
}

// markProbing records that numbers probe after a pause.
func (h *health) markProbing(numbers []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, number := range numbers {
		h.of(number).probing = time.Now()
	}
}

// pace applies the effect of an outcome to its number. probing is that of its slot: another worker may have let the
// number probe, and an acceptance ends that too.
func (s *Sender) pace(ctx context.Context, a message.Attempt, out message.Outcome, probing bool) effect {
	number := a.Message.From
	e := s.health.note(a.ID, a.Message, out, s.o.Backoff)
	e.recovered = e.recovered || probing && out.Kind == message.Accepted
	var err error
	switch {
	case out.Kind == message.Throttled && out.Limit == message.LimitNumber:
		_, err = s.o.Paces.Throttled(ctx, number)
	case out.Limit == message.LimitRest:
		err = s.o.Paces.Pause(ctx, number, min(out.RetryAfter, maxRest))
	case e.pause > 0:
		err = s.pauseAll(ctx, number, out, e.pause)
	case e.probe:
		// While a hold applies nothing is sent: probing is for the start after it.
		err = s.o.Paces.Probe(ctx, number, e.hold+ProbeFor)
	case e.recovered:
		err = s.o.Paces.Recovered(ctx, number)
	}
	if err != nil {
		s.o.Log.Error("cannot change the effective rate", "phone_number_id", number, "err", err)
	}
	if e.templateAccepted {
		s.o.TemplateAccepted(ctx, number, a.Message.Template)
	}
	return e
}

// pauseAll pauses all numbers that share a token or an account. They probe afterwards.
func (s *Sender) pauseAll(ctx context.Context, number string, out message.Outcome, d time.Duration) error {
	numbers := s.o.Siblings(ctx, number)
	s.health.markProbing(numbers)
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
