// Package autoreply answers people who write to a number: with fixed texts, or with what a hook of the user says.
//
// A Replier is a consumer group of the event streams. It acknowledges an entry when each of its messages is answered or needs no answer, and the
// idempotency key of an answer follows from Meta's id of the message that it answers. So no message is forgotten, and none is answered twice.
package autoreply

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/retry"
	"sluice/internal/store"
)

// Group is the consumer group of the event streams.
const Group = "autoreply"

// Options are what a Replier works with. All are required, except Person and Roots.
type Options struct {
	Consumer string         // the name of this process, which no other has
	Shards   message.Shards // of the installation
	Numbers  func() []string
	Settings func(number string) *config.AutoReply // nil: the number has no automatic replies. The same pointer as before: they did not change
	Stops    func(texts []string) bool             // reports whether one of the texts of a message is a stop word
	// Person returns a name of the person that has a recipient, which does not reveal the recipient. Nil: there is no secrets key, and nothing is
	// answered.
	Person func(ctx context.Context, number, recipient string) (string, error)
	// Accept accepts orders with the rights of an API key, and returns a result for each. With an error it accepted none.
	Accept       func(ctx context.Context, apiKey string, orders []message.Order) ([]message.OrderResult, error)
	PrivateHosts []string       // lower-case names of hosts of hooks that may have private addresses
	Roots        *x509.CertPool // of the certificates of hooks; nil: those of the system
	Log          *slog.Logger
	Registerer   prometheus.Registerer
}

const (
	// maxAge is how old a message may be that is answered: a later answer would surprise its reader.
	maxAge = 15 * time.Minute
	// deadAfter is how long an entry may be without an acknowledgement before it is read again. It is longer than handling takes.
	deadAfter = time.Minute
	// tryFor is how long a message is tried again before its entry is left to a later reading.
	tryFor = 20 * time.Second
	// claimEvery is how often entries that were not acknowledged are reclaimed.
	claimEvery = 10 * time.Second
	// refreshEvery is how often changed settings are looked for, and maxIdle is the pause when the streams have nothing to read.
	refreshEvery = time.Second
	maxIdle      = 100 * time.Millisecond
	// callTimeout is the time limit of the calls of Redis of a step.
	callTimeout = 10 * time.Second
	// stopWithin is how long messages that are being handled may go on at a stop.
	stopWithin = 5 * time.Second
	// inFlight is the maximum number of messages that are handled at the same time. It is larger than what one slow hook can keep.
	inFlight = 4 * (hookCalls + hookWaiting)
)

// pauses are the pauses after failures in a row.
var pauses = retry.Pauses{First: 200 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.2}

// Replier answers inbound messages. Any number of producers can run one: they share the messages.
type Replier struct {
	db      *store.DB
	o       Options
	group   *events.Group
	hooks   *hooks
	admit   store.Script
	metrics *metrics
	slots   chan struct{}
	running sync.WaitGroup

	starts    map[string]start // of the numbers that have automatic replies
	refreshed time.Time
	claimed   time.Time
	warned    bool // that there is no secrets key

	claimEvery time.Duration

	mu   sync.Mutex
	open map[string]bool     // entries that are being handled, by stream and id
	done []events.GroupEntry // entries to acknowledge
	left bool                // an entry was given up for now, so this consumer must stay in the group
	said map[string]time.Time
}

// New returns a Replier. It does not access Redis.
func New(db *store.DB, o Options) *Replier {
	return &Replier{
		db: db, o: o, group: newGroup(db, o, deadAfter), hooks: newHooks(o.PrivateHosts, o.Roots), admit: db.Script(admitLua), metrics: newMetrics(o.Registerer),
		slots: make(chan struct{}, inFlight), open: map[string]bool{}, said: map[string]time.Time{}, claimEvery: claimEvery,
	}
}

func newGroup(db *store.DB, o Options, deadAfter time.Duration) *events.Group {
	return events.NewGroup(db, events.GroupOptions{Name: Group, Consumer: o.Consumer, Shards: o.Shards, MetaOnly: true, DeadAfter: deadAfter, Since: maxAge})
}

// Run answers messages until ctx ends. It blocks, logs and repeats what fails, and returns nil. What it has read and not answered then is
// reclaimed by another process, or by the next one. While no number has automatic replies it reads no events.
func (r *Replier) Run(ctx context.Context) error {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer r.stop(cancel)
	failures := 0
	for {
		n, err := r.step(ctx, working)
		pause := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			pause = pauses.After(failures)
			r.o.Log.Error("cannot read messages to answer", "retry_seconds", pause.Seconds(), "err", err)
		default:
			if failures > 0 {
				r.o.Log.Info("messages to answer are read again")
			}
			if failures = 0; len(r.starts) == 0 {
				pause = refreshEvery
			} else if n == 0 {
				pause = maxIdle
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// stop lets running messages end, and cancels them after stopWithin.
func (r *Replier) stop(cancel func()) {
	timer := time.AfterFunc(stopWithin, cancel)
	r.running.Wait()
	timer.Stop()
	r.hooks.close()
	ctx, end := context.WithTimeout(context.Background(), time.Second)
	defer end()
	if r.acknowledge(ctx) == nil && !r.left && len(r.starts) > 0 {
		r.group.Leave()
	}
}

// step begins to handle the next entries under working, and returns their number.
func (r *Replier) step(ctx, working context.Context) (int, error) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout) // a stop does not interrupt a step
	defer cancel()
	if err := r.refresh(call); err != nil {
		return 0, err
	}
	if len(r.starts) == 0 {
		return 0, nil
	}
	if err := r.acknowledge(call); err != nil {
		return 0, err
	}
	entries, err := r.read(call)
	for _, e := range entries {
		r.take(ctx, working, e)
	}
	return len(entries), err
}

// read reads the next entries, and from time to time those that were not acknowledged.
func (r *Replier) read(ctx context.Context) ([]events.GroupEntry, error) {
	if time.Since(r.claimed) > r.claimEvery {
		found, lost, err := r.group.Claim(ctx)
		if err != nil {
			return nil, err
		}
		if lost > 0 {
			r.o.Log.Error("events were dropped before they were answered", "gaps", lost)
		}
		if len(found) > 0 { // there may be more
			return found, nil
		}
		r.claimed = time.Now()
	}
	return r.group.Read(ctx)
}

// acknowledge marks the entries that are done.
func (r *Replier) acknowledge(ctx context.Context) error {
	r.mu.Lock()
	all := r.done
	r.done = nil
	r.mu.Unlock()
	err := r.group.Acknowledge(ctx, all)
	if err != nil {
		r.mu.Lock()
		r.done = append(r.done, all...)
		r.mu.Unlock()
	}
	return err
}
