package canary

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/client"
)

// Canary is a message that is sent again and again from a number.
type Canary struct {
	PhoneNumberID string        // Meta's id of the sending number
	Content       any           // Meta's message object, as JSON writes it
	Every         time.Duration // from one to the next
	Within        time.Duration // how long one may take until it is delivered; shorter than Every
}

// Options configure a Runner.
type Options struct {
	API        *client.Client // of this Sluice
	Canaries   []Canary       // at most one for each number
	Offset     func() time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Runner sends the canaries. Every producer has one, and all of them follow each canary. Only one of them makes it: the moments
// follow from the clock that all share, and the idempotency key from the moment. So nothing is sent twice, nothing has to be
// agreed on, and when a producer dies the others go on.
type Runner struct {
	o       Options
	metrics *metrics
}

// New returns a Runner. Options.Offset returns how far the shared clock, that of Redis, is ahead of this machine's.
func New(o Options) *Runner {
	return &Runner{o: o, metrics: newMetrics(o.Registerer, o.Canaries)}
}

// Run sends canaries until ctx ends. It blocks, and returns nil.
func (r *Runner) Run(ctx context.Context) error {
	var g errgroup.Group
	for _, c := range r.o.Canaries {
		g.Go(func() error { return r.run(ctx, c) })
	}
	return g.Wait()
}

// run sends the canaries of one number, one after the other: each is over before the next one is due.
func (r *Runner) run(ctx context.Context, c Canary) error {
	content, err := json.Marshal(c.Content)
	if err != nil {
		return fmt.Errorf("canary of number %s: %w", c.PhoneNumberID, err)
	}
	// Producers whose settings differ, during a change, have keys that differ: the same key with another content is refused.
	settings := sha256.Sum256(fmt.Appendf(content, " %s %s", c.Every, c.Within))
	for {
		due := next(time.Now().Add(r.o.Offset()), c)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(due.Add(-r.o.Offset()))):
		}
		r.send(ctx, c, Message(c.PhoneNumberID, json.RawMessage(content), fmt.Sprintf("canary-%x-%d", settings[:4], due.UnixMilli()), due.Add(c.Within)))
	}
}

// send sends one canary and notes what became of it.
func (r *Runner) send(ctx context.Context, c Canary, m client.Message) {
	limited, cancel := context.WithTimeoutCause(ctx, c.Within, fmt.Errorf("it was not delivered within %s", c.Within))
	defer cancel()
	result := Probe(limited, r.o.API, m, nil)
	if ctx.Err() != nil {
		return // the program stops: that says nothing about the message
	}
	r.metrics.note(c.PhoneNumberID, result)
	if result.Missing != "" {
		r.o.Log.Warn("canary was not delivered", "phone_number_id", c.PhoneNumberID, "message_id", result.ID, "step", string(result.Missing), "err", result.Error())
	}
}

// next returns the first moment after now at which a canary is due. The moments of numbers differ, so that a thousand
// canaries do not leave in the same second.
func next(now time.Time, c Canary) time.Time {
	h := fnv.New32a()
	h.Write([]byte(c.PhoneNumberID))
	phase := time.Duration(h.Sum32()) * time.Microsecond % c.Every
	unix := time.Duration(now.UnixNano()) - phase
	return now.Add(c.Every - unix%c.Every)
}
