package repository

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/content"
	"sluice/internal/conversations"
	"sluice/internal/dispatch"
	"sluice/internal/frequency"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
	"sluice/internal/quiethours"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
	"sluice/internal/send"
	"sluice/internal/servicewindow"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

// Candidates decides, by the messages' records, which of the fetched tasks may be sent now. It remembers messages that
// are in an attempt, for the sweeper to check. It is safe for concurrent use.
type Candidates struct {
	db         *store.DB
	records    *ledger.Ledger
	people     *people.People
	shards     message.Shards
	limited    func(number string) bool
	owners     *conversations.Owners
	waits      func(number string) bool // for conversations that another app owns
	optOuts    *suppression.Store
	quiet      *quiethours.Rules
	caps       *frequency.Caps
	windows    *servicewindow.Windows
	log        *slog.Logger
	unreadable prometheus.Counter // messages that were skipped

	mu       sync.Mutex
	suspects map[string]bool
}

// CandidateOptions configure Candidates. All are required.
type CandidateOptions struct {
	DB         *store.DB
	Records    *ledger.Ledger
	People     *people.People
	Shards     message.Shards
	Limited    func(number string) bool // reports whether the portfolio of a number has a messaging limit
	Owners     *conversations.Owners
	Waits      func(number string) bool // reports whether service messages of a number wait while another app owns the conversation
	OptOuts    *suppression.Store
	Quiet      *quiethours.Rules
	Caps       *frequency.Caps
	Windows    *servicewindow.Windows
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// NewCandidates returns a Candidates, and registers its metric.
func NewCandidates(o CandidateOptions) *Candidates {
	return &Candidates{
		db: o.DB, records: o.Records, people: o.People, shards: o.Shards, limited: o.Limited, owners: o.Owners, waits: o.Waits,
		optOuts: o.OptOuts, quiet: o.Quiet, caps: o.Caps, windows: o.Windows, log: o.Log, unreadable: newUnreadable(o.Registerer),
	}
}

// Of reads the records of tasks of one shard, in one round trip, and returns a candidate for each.
func (c *Candidates) Of(ctx context.Context, shard message.Shard, tasks []queue.TaskID) ([]dispatch.Candidate, error) {
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.Message
	}
	all, unreadable, err := c.records.ReadReadable(ctx, shard, ids)
	if err != nil {
		return nil, err
	}
	// The other messages must not wait for one that cannot be sent. Its record is not changed: a program that can read it
	// adds its task again.
	for id, err := range unreadable {
		c.unreadable.Inc()
		c.log.Error("cannot read the record of a message, the message is not sent", "message_id", id, "err", err)
	}
	now := c.db.Clock(ctx, ledger.RecordPrefix(shard))
	out := make([]dispatch.Candidate, len(tasks))
	for i := range all {
		out[i] = candidate(&all[i], tasks[i].K, now)
		if all[i].State == message.Attempting {
			c.suspect(ids[i])
		}
	}
	if err := c.suppressed(ctx, all, out); err != nil {
		return nil, err
	}
	c.quietly(all, out, now)
	c.persons(ctx, all, out)
	if err := c.elsewhere(ctx, all, out, now); err != nil {
		return nil, err
	}
	if err := c.putOff(ctx, shard, all, out, now); err != nil {
		return nil, err
	}
	if err := c.outside(ctx, all, out); err != nil {
		return nil, err
	}
	if err := c.capped(ctx, all, out); err != nil {
		return nil, err
	}
	return out, nil
}

func candidate(r *record.Record, task int, now time.Time) dispatch.Candidate {
	switch {
	case r.Task != task:
		return dispatch.Candidate{Verdict: dispatch.Void}
	case r.State == message.Attempting: // if the attempt ends in a retry, this task makes it
		return dispatch.Candidate{Verdict: dispatch.NotYet, At: now.Add(send.BusyWait)}
	case r.State != message.Queued || !now.Before(r.ExpiresAt):
		return dispatch.Candidate{Verdict: dispatch.Void}
	case r.NextAt.After(now):
		return dispatch.Candidate{Verdict: dispatch.NotYet, At: r.NextAt}
	}
	c := dispatch.Candidate{Verdict: dispatch.Sendable, Template: r.Template, Tags: r.Tags, Flow: r.Flow(), Known: r, Accepted: r.AcceptedAt}
	if r.Spent == 0 {
		c.Cost = r.Price
	}
	if r.MayFallBack() {
		c.Fallback = r.Fallback
	}
	copy(c.Recipient[:], r.Recipient)
	return c
}

// persons lets the messages to all names of a person share the pair limit and count once for a messaging limit: their recipient is the
// person. The record of a message that was accepted without an index of recipients has no name of the recipient, only a hash for this
// number: its recipient stays, and the messaging limit uses the name in the payload.
func (c *Candidates) persons(ctx context.Context, all []record.Record, out []dispatch.Candidate) {
	var ask []people.Query
	var of []int
	for i := range all {
		r := &all[i]
		if out[i].Recipient == (ratelimit.Recipient{}) { // it is not sendable, or to a group
			continue
		}
		var who people.Identity
		if len(r.RecipientHash) == len(people.ID{}) {
			who = people.Identity{Hash: people.ID([]byte(r.RecipientHash)), User: message.IsUserID(r.To)}
		} else if r.Template != "" && c.limited(r.From) {
			who = c.people.Identity(recipientIn(r.Payload))
		}
		if who != (people.Identity{}) {
			ask, of = append(ask, people.Query{Number: r.From, Identity: who}), append(of, i)
		}
	}
	persons, err := c.people.Lookup(ctx, ask)
	if err != nil && ctx.Err() == nil { // Meta's own limit holds in any case
		c.log.Warn("cannot look up recipients, limits count each of their names alone for now", "err", err)
	}
	for i, id := range persons {
		r, found := &all[of[i]], &out[of[i]]
		if r.RecipientHash != "" {
			found.Recipient = ratelimit.Recipient(id)
		}
		if r.Template != "" && c.limited(r.From) {
			found.Person = portfolio.Person(id)
		}
	}
}

// recipientIn returns the recipient in a payload.
func recipientIn(payload string) string {
	to, _ := content.Addressee(payload)
	return to
}

func (c *Candidates) suspect(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.suspects == nil {
		c.suspects = map[string]bool{}
	}
	c.suspects[id] = true
}

// Attempting returns the messages of some shards whose task was fetched during an attempt, since the last call for
// these shards.
func (c *Candidates) Attempting(shards []message.Shard) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range c.suspects {
		number, _ := message.Number(id)
		if slices.Contains(shards, c.shards.Of(number)) {
			ids = append(ids, id)
			delete(c.suspects, id)
		}
	}
	return ids
}

// newUnreadable counts the messages whose records cannot be read.
func newUnreadable(reg prometheus.Registerer) prometheus.Counter {
	return promauto.With(reg).NewCounter(prometheus.CounterOpts{
		Name: "sluice_records_unreadable_total",
		Help: "Messages that were not sent because their record in Redis cannot be read. The log names them.",
	})
}
