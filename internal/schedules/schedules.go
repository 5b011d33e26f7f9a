// Package schedules sends a message again and again, at times of the clock of a time zone. Every producer follows all schedules. The
// idempotency key of a message comes from its schedule and its tick, so each tick is one message, however many producers run, restart
// or die.
package schedules

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/retry"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	// every is the pause between two looks for ticks.
	every = time.Second
	// latest is how late a tick may be sent. An older one is skipped.
	latest = time.Hour
	// settled is how old a tick is when each producer knows an API key that was there at the tick.
	settled = 30 * time.Second
	// group is how many ticks are accepted together.
	group = 100
)

// pauses are the pauses of a producer between the tries of a tick that is refused for a temporary cause.
var pauses = retry.Pauses{First: time.Second, Max: time.Minute}

// Results of ticks, as the API and a label of a metric have them. waiting is not final and not counted.
const (
	accepted = "accepted"
	refused  = "refused"
	skipped  = "skipped"
	waiting  = "waiting"
)

// scheduleTick is the last tick of a schedule as the API shows it.
type scheduleTick struct {
	At      time.Time `json:"at" doc:"The tick: the time at which the message was due."`
	Result  string    `json:"result" doc:"accepted: a message was accepted. refused: code says why not. waiting: it was refused for a temporary cause, and is tried again until the tick is an hour old. skipped: it was an hour old before it could be accepted."`
	Message string    `json:"message_id,omitempty" doc:"Sluice's id of the accepted message. Absent if the schedule was changed while the message was accepted."`
	Code    string    `json:"code,omitempty" doc:"Why the message was not accepted: a code as in the answer to POST /v1/messages. After skipped: the last cause for which it waited."`
	Detail  string    `json:"detail,omitempty" doc:"The same for people."`
}

// Options configure Schedules.
type Options struct {
	DB   *store.DB
	Box  secrets.Box  // with the secrets key; without one there are no schedules
	Keys httpapi.Keys // the API keys
	// Check checks the body of a request to send with the rights of an API key, apart from what changes with time. It returns the number
	// that sends it, the recipient, and the warnings. It does not block.
	Check func(key httpapi.Key, body []byte) (number, recipient string, warnings []message.Problem, refused httpapi.Refusal)
	// Recipient returns the recipient of the body of a request to send, also if it could not be sent; empty: it has none.
	Recipient func(body []byte) string
	// Accept accepts orders with the rights of the API key with a name, and returns a result for each, in order.
	Accept     func(ctx context.Context, key string, orders []message.Order) ([]message.OrderResult, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Schedules are the schedules of an installation. It is safe for concurrent use.
type Schedules struct {
	o     Options
	all   *repository
	ticks map[string]prometheus.Counter // by result

	mu    sync.Mutex
	later map[string]later // the schedules that this producer tries again later
}

// later is when a producer tries a schedule again: its tick was refused for a temporary cause, or it cannot be read.
type later struct {
	tick  time.Time // zero: it cannot be read
	tries int       // of the tick
	at    time.Time
}

// New returns the schedules of an installation. It does not access Redis.
func New(o Options) *Schedules {
	s := &Schedules{o: o, ticks: map[string]prometheus.Counter{}, later: map[string]later{}}
	if o.DB != nil {
		s.all = newRepository(o.DB, o.Box)
	}
	ticks := promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_schedule_ticks_total",
		Help: "Ticks of schedules that are done, by result: accepted (as a message), refused (the schedule has the code), skipped (it was an hour old before it could be accepted). Add up all producers.",
	}, []string{"result"})
	for _, result := range []string{accepted, refused, skipped} {
		s.ticks[result] = ticks.WithLabelValues(result)
	}
	return s
}

// Reencrypt encrypts all schedules with the first secrets key, and returns how many had another one.
func (s *Schedules) Reencrypt(ctx context.Context) (int, error) { return s.all.Reencrypt(ctx) }

// Run accepts the messages of ticks until ctx ends. It blocks, logs and repeats what fails, and returns nil.
func (s *Schedules) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := s.pass(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Error("cannot send what schedules are due, will retry", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// now returns the time of Redis's clock.
func (s *Schedules) now(ctx context.Context) time.Time { return s.o.DB.Clock(ctx, dueKey()) }

// pass handles a tick of each schedule that is due.
func (s *Schedules) pass(ctx context.Context) error {
	now := s.now(ctx)
	ids, err := s.all.due(ctx, now)
	for some := range slices.Chunk(ids, group) {
		if err = s.handle(ctx, some, now); err != nil {
			break
		}
	}
	return err
}

// tick is a tick that is due.
type tick struct {
	id string
	entry
	rule   rule
	result message.OrderResult
}

// handle handles a tick of each of some schedules.
func (s *Schedules) handle(ctx context.Context, ids []string, now time.Time) error {
	if ids = s.ready(ids, now); len(ids) == 0 {
		return nil
	}
	all, errs, err := s.all.get(ctx, ids)
	if err != nil {
		return err
	}
	byKey := map[string][]*tick{}
	for i, e := range all {
		t := &tick{id: ids[i], entry: e}
		err, unusable := errs[i], httpapi.Refusal(nil)
		if err == nil && !e.Next.IsZero() {
			if t.rule, unusable = e.rule(); unusable != nil { // a time zone that this version does not have
				err = errors.New(unusable[0].Detail)
			}
		}
		switch {
		case err != nil:
			log := s.logOf(ids[i])
			log.Error("cannot read a schedule, it sends nothing", "err", err)
			s.delay(ids[i], later{at: now.Add(latest)})
		case e.Next.IsZero() || e.Next.After(now): // it was changed since
		case now.Sub(e.Next) >= latest:
			if err := s.skip(ctx, t, now); err != nil {
				return err
			}
		default:
			byKey[e.Key] = append(byKey[e.Key], t)
		}
	}
	for key, due := range byKey {
		if err := s.accept(ctx, key, due); err != nil {
			return err
		}
		for _, t := range due {
			if err := s.note(ctx, t, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready returns the schedules without those that are tried again later.
func (s *Schedules) ready(ids []string, now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.later, func(_ string, l later) bool { return now.Sub(l.at) >= latest }) // its tick is done
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return now.Before(s.later[id].at) })
}

// delay lets a schedule be tried again later.
func (s *Schedules) delay(id string, l later) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.later[id] = l
}

// again lets a tick be tried again after a pause, or when it is so old that it is skipped.
func (s *Schedules) again(t *tick, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.later[t.id]
	if !l.tick.Equal(t.Next) {
		l = later{tick: t.Next}
	}
	l.tries++
	if l.at = now.Add(pauses.After(l.tries)); l.at.After(t.Next.Add(latest)) {
		l.at = t.Next.Add(latest)
	}
	s.later[t.id] = l
}

// forget lets a schedule be tried at once: it was changed.
func (s *Schedules) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.later, id)
}

// skip goes on to the first tick that is less than an hour old.
func (s *Schedules) skip(ctx context.Context, t *tick, now time.Time) error {
	last, n := scheduleTick{Result: skipped}, 0
	for ; !t.Next.IsZero() && now.Sub(t.Next) >= latest; n++ {
		last.At, t.Next = t.Next, t.rule.next(t.Next)
	}
	if t.Last != nil && t.Last.At.Equal(last.At) {
		last.Code, last.Detail = t.Last.Code, t.Last.Detail
	}
	t.Last, t.Skipped = &last, t.Skipped+n
	stored, err := s.all.set(ctx, t.id, t.text, t.entry, false)
	if stored {
		s.ticks[skipped].Add(float64(n))
		log := s.logOf(t.id)
		log.Warn("schedule ticks skipped", "ticks", n, "problem", last.Code)
	}
	return err
}

// accept sets the results of ticks whose schedules have the same API key.
func (s *Schedules) accept(ctx context.Context, key string, due []*tick) error {
	if _, not := s.o.Keys.Named(key, httpapi.ScopeSend); not != nil {
		problem, _ := json.Marshal(not.Document()) // cannot fail for strings and numbers
		for _, t := range due {
			t.result = message.OrderResult{Code: not[0].Code, Problem: problem}
		}
		return nil
	}
	orders := make([]message.Order, len(due))
	for i, t := range due {
		orders[i] = message.Order{Body: t.Request, Key: "schedule:" + t.id + ":" + t.Next.UTC().Format(time.RFC3339)}
	}
	results, err := s.o.Accept(ctx, key, orders)
	for i, r := range results {
		due[i].result = r
	}
	return err
}

// note stores the result of a tick. Of several producers with a result of the same tick, the first one counts.
func (s *Schedules) note(ctx context.Context, t *tick, now time.Time) error {
	last := scheduleTick{At: t.Next, Result: accepted, Message: t.result.ID}
	if code := t.result.Code; code != "" && code != "idempotency_key_reused" { // that was accepted before the schedule was changed
		var p httpapi.Failure
		json.Unmarshal(t.result.Problem, &p) // without a document there is no detail
		last.Result, last.Code, last.Detail = refused, code, p.Detail
		if len(p.Errors) > 0 && p.Errors[0].Path != "" {
			last.Detail = p.Errors[0].Path + ": " + p.Detail
		}
		if t.result.Retry || p.Status == http.StatusTooManyRequests || code == "unauthenticated" && now.Sub(t.Next) < settled {
			last.Result = waiting
		}
	}
	if last.Result == waiting {
		s.again(t, now)
		if was := t.Last; was != nil && was.At.Equal(last.At) && was.Code == last.Code {
			return nil
		}
	} else {
		t.Next = t.rule.next(t.Next)
	}
	t.Last = &last
	stored, err := s.all.set(ctx, t.id, t.text, t.entry, false)
	if stored && last.Result != waiting {
		s.ticks[last.Result].Inc()
	}
	if stored && last.Code != "" {
		log := s.logOf(t.id)
		log.Warn("schedule tick not accepted", "problem", last.Code, "result", last.Result)
	}
	return err
}

// logOf returns the log for lines about a schedule.
func (s *Schedules) logOf(id string) *slog.Logger {
	client, name, _ := strings.Cut(id, "/")
	return s.o.Log.With("client", client, "schedule", name)
}
