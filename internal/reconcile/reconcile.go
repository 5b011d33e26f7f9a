// Package reconcile applies Meta's status reports to the records of messages: in any order, repeated, before the
// outcome of the attempt is recorded, with or without a marker. Each shard has a watermark in Redis: all reports
// that arrived before it are applied. In-doubt windows end only when the watermark has passed them.
package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

const (
	trimEvery           = 5 * time.Second
	applyUnmatchedEvery = time.Second
	applyUpdatesEvery   = time.Second
)

// stream delivers the events from Meta.
type stream interface {
	Read(ctx context.Context, name string, handle func(ctx context.Context, shard message.Shard, events []message.Event, also map[string]string) (stored bool, err error)) error
	Lag() time.Duration
	Trim(ctx context.Context) error
	NoteReceived(ctx context.Context, times map[message.Shard]message.LastReceived) error
	// KeepUpdates stores updates until ApplyUpdates has applied them. An error of apply ends the updates of a shard: it
	// is called again with that one.
	KeepUpdates(ctx context.Context, shard message.Shard, updates []message.Event) error
	ApplyUpdates(ctx context.Context, apply func(ctx context.Context, e message.Event) error) error
}

// ledger applies status reports. Apply stores the strings in also (keys and values) in the same transaction as
// the last report.
type ledger interface {
	Apply(ctx context.Context, shard message.Shard, reports []message.MarkedReport, also map[string]string) ([]message.ApplyResult, error)
	// ApplyAllUnmatched applies unmatched statuses whose message is now known. It returns how many it dropped, because
	// they were too old or too many.
	ApplyAllUnmatched(ctx context.Context) (dropped int, err error)
}

// Options configure a Reconciler.
type Options struct {
	Name  string                                                           // the name of this process among the readers
	Mark  func(s string) (id string, attempt int, accepted int64, ok bool) // parses a marker of this installation; false for anything else
	Other func(s string) bool                                              // reports whether a marker is from another environment; nil: no marker is
	Known func(number string) bool                                         // reports whether a phone number id is configured; nil: all are. Statuses with a valid marker are applied in any case
	// Inbound is called with the number of messages that a number has just received: they count against its
	// throughput. May be nil.
	Inbound func(ctx context.Context, number string, n int) error
	// Charge returns what Meta charges for the message of a status, the member meta of its event; zero: the status says nothing. Nil: no
	// status says anything.
	Charge func(r message.StatusReport, status json.RawMessage) message.Charge
	// Wrote is called with the inbound messages of known numbers. May be nil.
	Wrote func(ctx context.Context, events []message.Event)
	// Written returns Meta's id of an inbound message, and when it was written. It may be nil if Inbound is.
	Written func(e message.Event) (id string, at time.Time)
	Now     func(ctx context.Context) time.Time              // Redis's clock; nil: the clock of this machine
	Update  func(ctx context.Context, e message.Event) error // is called with Meta's updates of templates, accounts and numbers, again after an error; may be nil
	// Applied is called with each status report that changed a record, because a failure may concern further
	// messages. May be nil.
	Applied func(ctx context.Context, e message.MarkedReport)
	// Identities returns the names of the person that an event is about, and People is called with those of a batch before its
	// statuses are applied. If it returns an error, it is called again with the same events if one of them reports that a
	// person's names changed; otherwise the names wait for the next event about the person. Both may be nil.
	Identities func(e message.Event) (message.Identities, bool)
	People     func(ctx context.Context, all []message.Identities) error
	// OwnerReport returns what an event says about the owner of a conversation, and Owners is called with those of a batch. If it
	// returns an error, it is called again with the same events. Both may be nil.
	OwnerReport func(e message.Event) (message.OwnerReport, bool)
	Owners      func(ctx context.Context, all []message.OwnerReport) error
	// Preferences returns what an event says about whether people want marketing messages, and Prefer is called with those of a batch.
	// If it returns an error, it is called again with the same events. Both may be nil.
	Preferences func(e message.Event) []message.Preference
	Prefer      func(ctx context.Context, all []message.Preference) error
	// WindowReports returns what an event says about customer service windows that opened, and Windows is called with those of a batch.
	// If it returns an error, it is called again with the same events. Both may be nil.
	WindowReports func(e message.Event) []message.WindowReport
	Windows       func(ctx context.Context, all []message.WindowReport) error
	// NoteAccount is called with the WhatsApp Business Account of a known number. May be nil.
	NoteAccount func(ctx context.Context, number, account string)
	Tracer      *tracing.Tracer       // nil: no traces
	Registerer  prometheus.Registerer // nil: the metrics are not registered
	Log         *slog.Logger          // nil: no logs
}

// Reconciler applies status reports to records. Several Reconcilers share the shards.
type Reconciler struct {
	stream   stream
	ledger   ledger
	o        Options
	log      *slog.Logger
	metrics  *metrics
	foreign  sync.Map // phone number ids that are not configured and were logged
	proven   sync.Map // phone number ids that are not configured, and that had a status with a valid marker
	received lastReceived
	written  written
	updates  chan struct{} // there are new updates
}

// New returns a Reconciler that applies the events of s to the records in l.
func New(s stream, l ledger, o Options) *Reconciler {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = func(context.Context) time.Time { return time.Now() }
	}
	return &Reconciler{
		stream: s, ledger: l, o: o, log: log,
		metrics: newMetrics(o.Registerer, s.Lag), updates: make(chan struct{}, 1),
	}
}

// Run applies what Meta reports until ctx ends. It finishes started transactions and returns nil. It retries
// while Redis is unavailable.
func (r *Reconciler) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { r.trim(ctx) })
	wg.Go(func() { r.publishReceived(ctx) })
	wg.Go(func() { r.applyUnmatched(ctx) })
	if r.o.Update != nil {
		wg.Go(func() { r.applyUpdates(ctx) })
	}
	return r.stream.Read(ctx, r.o.Name, r.apply)
}

// apply applies the status reports among the events of a shard, and stores the strings in also with them. It
// returns false if there are no status reports: then it stores nothing. Before that it stores the updates: what they
// demand may fail because of another shard, and no status waits for that.
func (r *Reconciler) apply(ctx context.Context, shard message.Shard, events []message.Event, also map[string]string) (stored bool, err error) {
	if err := r.keepUpdates(ctx, shard, events); err != nil {
		return false, err
	}
	if err := r.people(ctx, events); err != nil {
		return false, err
	}
	if err := r.owners(ctx, events); err != nil {
		return false, err
	}
	if err := r.preferences(ctx, events); err != nil {
		return false, err
	}
	if err := r.windows(ctx, events); err != nil {
		return false, err
	}
	var reports []message.MarkedReport
	var received []int64 // when each of them was, Unix milliseconds
	for _, e := range events {
		if e.WABA != "" && r.o.NoteAccount != nil && r.known(e.Number) {
			r.o.NoteAccount(ctx, e.Number, e.WABA)
		}
		if e.Type != message.EventStatus || e.Report == nil {
			continue
		}
		switch report, ok := r.readMarker(e); {
		case !ok:
			r.metrics.unusable.Inc()
		case report.ID == "" && !r.known(report.Number):
			r.metrics.foreign.Inc()
			if _, logged := r.foreign.LoadOrStore(report.Number, true); !logged {
				r.log.Warn("received a status for a number that is not configured", slog.String("phone_number_id", report.Number))
			}
		default:
			reports, received = append(reports, report), append(received, e.At)
		}
	}
	if len(reports) > 0 {
		results, err := r.ledger.Apply(ctx, shard, reports, also)
		if err != nil {
			return false, fmt.Errorf("apply %d status reports: %w", len(reports), err)
		}
		now := r.o.Now(ctx)
		for i, result := range results {
			r.metrics.count(reports[i].Status, result)
			if result == message.Applied {
				r.metrics.latency.Observe(max(0, now.Sub(time.UnixMilli(received[i])).Seconds()))
			}
			r.trace(ctx, reports[i], result)
			if result == message.Applied && r.o.Applied != nil {
				r.o.Applied(ctx, reports[i])
			}
			if result == message.Duplicate {
				r.log.Error("Meta accepted a message twice", slog.String("message_id", reports[i].ID), tracing.ID(reports[i].Trace),
					slog.String("wamid", reports[i].WAMID), slog.Int("attempt", reports[i].Attempt))
			}
		}
	}
	r.received.note(shard, events)
	r.inbound(ctx, events)
	return len(reports) > 0, nil
}

// people learns who the events are about.
func (r *Reconciler) people(ctx context.Context, events []message.Event) error {
	if r.o.People == nil {
		return nil
	}
	var all []message.Identities
	changed := false
	for _, e := range events {
		if !r.known(e.Number) {
			continue
		}
		if who, ok := r.o.Identities(e); ok {
			all = append(all, who)
			changed = changed || who.Change != ""
		}
	}
	if len(all) == 0 {
		return nil
	}
	err := r.o.People(ctx, all)
	if err == nil || ctx.Err() != nil || changed {
		return err
	}
	r.log.Warn("cannot store which names of recipients are one person, the next webhooks will have them again", slog.Any("err", err))
	return nil
}

// owners stores who owns the conversations that events are about.
func (r *Reconciler) owners(ctx context.Context, events []message.Event) error {
	if r.o.Owners == nil {
		return nil
	}
	var all []message.OwnerReport
	for _, e := range events {
		if !r.known(e.Number) {
			continue
		}
		if report, ok := r.o.OwnerReport(e); ok {
			all = append(all, report)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return r.o.Owners(ctx, all)
}

// preferences stores whether the people whom events are about want marketing messages.
func (r *Reconciler) preferences(ctx context.Context, events []message.Event) error {
	if r.o.Prefer == nil {
		return nil
	}
	var all []message.Preference
	for _, e := range events {
		if r.known(e.Number) {
			all = append(all, r.o.Preferences(e)...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return r.o.Prefer(ctx, all)
}

// windows stores which customer service windows opened.
func (r *Reconciler) windows(ctx context.Context, events []message.Event) error {
	if r.o.Windows == nil {
		return nil
	}
	var all []message.WindowReport
	for _, e := range events {
		if r.known(e.Number) {
			all = append(all, r.o.WindowReports(e)...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return r.o.Windows(ctx, all)
}

// trace makes the span of an applied status, from its webhook until now, in the trace of its message.
func (r *Reconciler) trace(ctx context.Context, e message.MarkedReport, result message.ApplyResult) {
	if _, span := r.o.Tracer.Continue(ctx, e.Trace, "apply status", tracing.Consumer, e.Received); span.On() {
		span.Set("message_id", e.ID, "phone_number_id", e.Number, "status", e.Status, "code", e.Code, "result", result)
		span.End()
	}
}

// readMarker returns the status report of an event with the contents of its marker. A marker of another
// environment, with a wrong MAC, or of a message of another number is not used: then the wamid finds the
// message. It is false when the report has neither a valid marker nor a wamid.
func (r *Reconciler) readMarker(e message.Event) (message.MarkedReport, bool) {
	ev := message.MarkedReport{StatusReport: *e.Report}
	ev.Number = cmp.Or(ev.Number, e.Number)
	ev.Received = time.UnixMilli(e.At)
	if id, attempt, accepted, ok := r.o.Mark(ev.Marker); ok {
		if number, _ := message.Number(id); number == ev.Number {
			ev.ID, ev.Attempt, ev.Accepted = id, attempt, accepted
			if !r.known(number) {
				r.proven.Store(number, true)
			}
		}
	}
	if r.o.Charge != nil {
		ev.Charge = r.o.Charge(ev.StatusReport, e.Meta)
	}
	ev.OtherEnvironment = ev.ID == "" && r.o.Other != nil && r.o.Other(ev.Marker)
	return ev, ev.ID != "" || ev.WAMID != ""
}

// known reports whether this installation sends from a number: it is configured, or it had a status with a valid
// marker. During a rolling restart, the configuration of this process may lack a number that another
// process sends from.
func (r *Reconciler) known(number string) bool {
	if number == "" {
		return false
	}
	if r.o.Known == nil || r.o.Known(number) {
		return true
	}
	_, proven := r.proven.Load(number)
	return proven
}

// applyUnmatched applies unmatched statuses whose message is now known, until ctx ends.
func (r *Reconciler) applyUnmatched(ctx context.Context) {
	for ctx.Err() == nil {
		dropped, err := r.ledger.ApplyAllUnmatched(ctx)
		r.metrics.dropped.Add(float64(dropped))
		if err != nil && ctx.Err() == nil {
			r.log.Warn("cannot apply statuses that arrived before their message, will retry", slog.Any("err", err))
		}
		pause(ctx, applyUnmatchedEvery)
	}
}

// keepUpdates stores the updates among the events of a shard.
func (r *Reconciler) keepUpdates(ctx context.Context, shard message.Shard, events []message.Event) error {
	updates := slices.DeleteFunc(slices.Clone(events), func(e message.Event) bool { return e.Type != message.EventUpdate })
	if r.o.Update == nil || len(updates) == 0 {
		return nil
	}
	if err := r.stream.KeepUpdates(ctx, shard, updates); err != nil {
		return err
	}
	select {
	case r.updates <- struct{}{}:
	default:
	}
	return nil
}

// applyUpdates applies the stored updates, until ctx ends.
func (r *Reconciler) applyUpdates(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.stream.ApplyUpdates(ctx, r.o.Update); err != nil && ctx.Err() == nil {
			r.log.Warn("cannot apply updates of Meta, will retry", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
		case <-r.updates:
		case <-time.After(applyUpdatesEvery):
		}
	}
}

// trim trims the event streams, until ctx ends.
func (r *Reconciler) trim(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.stream.Trim(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("cannot trim event streams", slog.Any("err", err))
		}
		pause(ctx, trimEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
