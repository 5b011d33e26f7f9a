package send

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// reportedInRow is how many failures within reportedWithin, without a success between them, mean that other messages
	// would fail too.
	reportedInRow  = 2
	reportedWithin = time.Minute
)

// statusRates change the effective rate of a number, for all workers.
type statusRates interface {
	ProbeStatus(ctx context.Context, number string, d time.Duration) error // one message a second, for d or until StatusRecovered is called
	StatusRecovered(ctx context.Context, number string) error              // Meta sends messages of the number again
}

// Reports sets holds on numbers and templates when Meta reports failures of messages that it took, as refusals in
// Meta's answers do. Meta still takes messages then, so only the status of a message that was sent after the hold
// began shows that the cause is gone. All exported fields but Full are required. It is safe for concurrent use.
type Reports struct {
	Backoff          func(n int) time.Duration
	Rates            statusRates
	Means            func(code int) message.Outcome // what a failed status with a code means for other messages
	Hold             Hold
	Full             func(ctx context.Context, e message.MarkedReport) bool // whether a failure concerns only messages that count for a messaging limit; nil: none does
	TemplateAccepted func(ctx context.Context, number, template string)
	Log              *slog.Logger

	mu      sync.Mutex
	numbers map[string]*reported
}

// reported has the recent failures of a number.
type reported struct {
	failures
	templates map[string]*failures
}

// failures are the failures of a number or of a template.
type failures struct {
	refusals
	n    int       // consecutive
	last time.Time // the last of them
}

// failed records a failure of a message that was sent at a time; most is how many in a row cause a hold. It returns
// how long to hold; 0: no hold.
func (f *failures) failed(out message.Outcome, sent time.Time, most int, backoff func(n int) time.Duration) time.Duration {
	now := time.Now()
	if now.Sub(f.last) > reportedWithin && f.held.n == 0 {
		f.n = 0
	}
	f.n++
	f.last = now
	if f.n < most || now.Before(f.held.until) || !f.held.before(sent) { // it was sent before the hold began
		return 0
	}
	return f.refused(out, backoff)
}

// Note processes a status that was applied.
func (r *Reports) Note(ctx context.Context, e message.MarkedReport) {
	to, _ := e.State()
	switch {
	case to == message.Failed:
		r.failed(ctx, e)
	case e.First: // later statuses say nothing about the present
		r.succeeded(ctx, e)
	}
}

func (r *Reports) failed(ctx context.Context, e message.MarkedReport) {
	out := r.Means(e.Code)
	most := reportedInRow
	switch {
	case out.Unknown:
		most = unknownInRow
	case out.Kind != message.Held || out.Hold == "" || out.Hold == message.HoldTemplate && e.Template == "":
		return
	}
	if r.Full != nil && r.Full(ctx, e) {
		return // the limit keeps those messages, and others go
	}
	template, d := r.note(e, out, most)
	if d == 0 {
		return
	}
	if template == "" {
		if err := r.Rates.ProbeStatus(ctx, e.Number, d+ProbeFor); err != nil {
			r.Log.Error("cannot change the effective rate", "phone_number_id", e.Number, "err", err)
		}
	}
	if err := r.Hold(ctx, e.Number, template, out, d); err != nil {
		r.Log.Error("cannot set hold", "phone_number_id", e.Number, "code", e.Code, "err", err)
	}
}

// note returns what to hold, a template or (empty) the number, and for how long.
func (r *Reports) note(e message.MarkedReport, out message.Outcome, most int) (template string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := time.Now().Add(-e.Age)
	n := r.numbers[e.Number]
	if n == nil {
		if r.numbers == nil {
			r.numbers = map[string]*reported{}
		}
		n = &reported{templates: map[string]*failures{}}
		r.numbers[e.Number] = n
	}
	if e.Template != "" && (out.Unknown || out.Hold == message.HoldTemplate) {
		t := n.templates[e.Template]
		if t == nil {
			t = &failures{}
			n.templates[e.Template] = t
		}
		d = t.failed(out, sent, most, r.Backoff)
		if d > 0 || out.Hold == message.HoldTemplate || t.n >= most {
			return e.Template, d
		}
	}
	return "", n.failures.failed(out, sent, most, r.Backoff)
}

// succeeded ends the streaks of a number and a template, unless they are held and the message was sent before.
func (r *Reports) succeeded(ctx context.Context, e message.MarkedReport) {
	sent := time.Now().Add(-e.Age)
	r.mu.Lock()
	n := r.numbers[e.Number]
	if n == nil {
		r.mu.Unlock()
		return
	}
	var probed, wasHeld bool
	if n.held.before(sent) {
		probed = n.held.n > 0
		n.failures = failures{}
	}
	if t := n.templates[e.Template]; t != nil && t.held.before(sent) {
		wasHeld = t.held.n > 0
		delete(n.templates, e.Template)
	}
	if len(n.templates) == 0 && n.failures == (failures{}) {
		delete(r.numbers, e.Number)
	}
	r.mu.Unlock()
	if probed {
		if err := r.Rates.StatusRecovered(ctx, e.Number); err != nil {
			r.Log.Error("cannot change the effective rate", "phone_number_id", e.Number, "err", err)
		}
	}
	if wasHeld {
		r.TemplateAccepted(ctx, e.Number, e.Template)
	}
}
