// Package holdpolicy sets and releases holds without an operator: after Meta's answers, statuses and
// announcements, when a number gets a new access token, and when Redis has lost writes.
package holdpolicy

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/send"
)

// The actors of automatic holds.
const (
	BySluice  = "sluice"           // Sluice releases the hold by itself
	ByRestore = "sluice: restored" // only an operator releases the hold
)

// lostWritesHold is how long the numbers of a shard are held after its Redis lost writes. Within seconds Meta
// reports which messages it accepted, also those of a worker that is dead.
const lostWritesHold = 30 * time.Second

// announced begins the reason of a hold that Meta announced.
const announced = "Meta announced for "

// lostWritesReason is the reason of a hold after Redis lost writes.
const lostWritesReason = "Redis lost writes: waiting for Meta's statuses of the messages that were sent"

// restoredReason is the reason of a hold after Redis lost more than workers remember.
const restoredReason = "Redis was restored or lost too much: compare with Meta which messages were sent, then release"

// holds stores holds.
type holds interface {
	List(ctx context.Context) ([]message.Hold, error)
	// Set sets a hold that ends at a time by this machine's clock; it converts the time to Redis's clock.
	Set(ctx context.Context, h message.Hold) (message.Hold, error)
	Release(ctx context.Context, h message.Hold) (bool, error)
}

// prober lets a number send one message a second for d, until one gets an answer.
type prober interface {
	Probe(ctx context.Context, number string, d time.Duration) error
}

// accounts stores to which WhatsApp Business Account a number belongs.
type accounts interface {
	Note(ctx context.Context, number, account string) error
	Numbers(ctx context.Context, account string) ([]string, error)
	Siblings(ctx context.Context, number string) ([]string, error)
}

// Options are what a Policy works with. All fields are required.
type Options struct {
	Holds    holds
	Rates    prober
	Accounts accounts
	Numbers  func() []string // the configured phone number ids
	// Working returns the numbers of a shard that have tasks: other workers may have more numbers.
	Working func(ctx context.Context, shard message.Shard) ([]string, error)
	Shards  message.Shards
	Token   func(number string) (string, error) // the access token of a number; empty: there is none
	// QualityChanged is called when Meta announces that the throughput, quality or messaging limit of a number changed. It
	// must not block.
	QualityChanged func()
	Log            *slog.Logger
}

// Policy sets and releases automatic holds. It is safe for concurrent use.
type Policy struct {
	Options
	known sync.Map // the account of each number, as it is stored
}

// New returns a Policy.
func New(o Options) *Policy { return &Policy{Options: o} }

// Refused holds for d what Meta would refuse in the same way as the message that it has just refused: the
// number, or one of its templates. After an endless outcome the hold has no end. After the hold of a
// template one message is sent first; a number probes by its rate.
func (p *Policy) Refused(ctx context.Context, number, template string, out message.Outcome, d time.Duration) error {
	title := ""
	if out.HasCode() {
		e, _ := cloudapi.Lookup(out.Code)
		if title = e.Title; out.Needs == message.RouteMarketing {
			title += ": set marketing_messages of the number to fallback or strict"
		}
	}
	h := message.Hold{Number: number, Template: template, Reason: cmp.Or(title, out.Detail.Message, out.Reason, "code "+strconv.Itoa(out.Code)), Code: out.Code, By: BySluice}
	if !out.Endless {
		h.Until = time.Now().Add(d)
	}
	if template != "" {
		h.Probe = send.ProbeFor
	}
	if _, err := p.Holds.Set(ctx, h); err != nil {
		return err
	}
	p.Log.Warn("hold set", "phone_number_id", number, "template", template, "code", out.Code, "reason", out.Reason, "until", h.Until)
	return nil
}

// TemplateAccepted releases the automatic hold on a template after Meta accepted a message of it.
func (p *Policy) TemplateAccepted(ctx context.Context, number, template string) {
	err := p.release(ctx, "Meta took a message of the template", func(h message.Hold) bool {
		return h.Number == number && h.Template == template
	})
	if err != nil {
		p.Log.Error("cannot release hold", "phone_number_id", number, "template", template, "err", err)
	}
}

// NewToken releases the automatic hold on a number that has a new access token.
func (p *Policy) NewToken(ctx context.Context, number string) error {
	return p.release(ctx, "the number has a new access token", func(h message.Hold) bool { return h.Number == number && h.Template == "" })
}

// Update applies an announcement of Meta about one template, or about all numbers of an account. If Meta sends
// their messages no more, Update holds them. If Meta sends them again, it releases the automatic holds.
func (p *Policy) Update(ctx context.Context, e message.Event) error {
	if cloudapi.QualityChanged(e) {
		p.QualityChanged()
		return nil
	}
	a, ok := cloudapi.Announced(e, time.Now())
	if !ok || e.WABA == "" {
		return nil
	}
	numbers, err := p.Accounts.Numbers(ctx, e.WABA)
	if err != nil {
		return err
	}
	if a.Hold {
		return p.announced(ctx, numbers, a)
	}
	what := "the account"
	if a.Template != "" {
		what = "the template"
	}
	return p.release(ctx, "Meta allows "+what+" to send again ("+a.Event+")", func(h message.Hold) bool {
		return h.Template == a.Template && slices.Contains(numbers, h.Number)
	})
}

// TemplateStates holds and releases templates of an account by their statuses at Meta, at all its numbers, as announcements of
// these statuses would.
func (p *Policy) TemplateStates(ctx context.Context, account string, changed []message.Template) error {
	numbers, err := p.Accounts.Numbers(ctx, account)
	if err != nil {
		return err
	}
	allowed := map[string]bool{}
	for _, t := range changed {
		a, ok := cloudapi.TemplateState(t.TemplateID(), t.Status)
		switch {
		case !ok:
		case !a.Hold:
			allowed[a.Template] = true
		default:
			if err := p.announced(ctx, numbers, a); err != nil {
				return err
			}
		}
	}
	if len(allowed) == 0 {
		return nil
	}
	return p.release(ctx, "Meta lists the template as APPROVED", func(h message.Hold) bool {
		return allowed[h.Template] && slices.Contains(numbers, h.Number)
	})
}

// announced holds at numbers what Meta announced that it does not send.
func (p *Policy) announced(ctx context.Context, numbers []string, a cloudapi.Announcement) error {
	what := "the account"
	if a.Template != "" {
		what = "the template"
	}
	for _, number := range numbers { // also one that this worker's configuration does not have yet, or no longer
		h := message.Hold{Number: number, Template: a.Template, Reason: announced + what + ": " + a.Event, By: BySluice}
		if a.For > 0 {
			h.Until = time.Now().Add(a.For)
		}
		if a.Template != "" {
			h.Probe = send.ProbeFor
		} else if err := p.Rates.Probe(ctx, number, a.For+send.ProbeFor); err != nil {
			return err
		}
		if _, err := p.Holds.Set(ctx, h); err != nil {
			return err
		}
		p.Log.Warn("hold set", "phone_number_id", number, "template", a.Template, "reason", h.Reason, "until", h.Until)
	}
	return nil
}

// NoteAccount stores to which account a number belongs, because Meta's announcements name accounts.
func (p *Policy) NoteAccount(ctx context.Context, number, account string) {
	if known, _ := p.known.Load(number); known == account {
		return
	}
	if err := p.Accounts.Note(ctx, number, account); err != nil {
		p.Log.Warn("cannot store the WhatsApp Business Account of a number, will retry", "phone_number_id", number, "err", err)
		return
	}
	p.known.Store(number, account)
}

// Siblings returns the numbers that share Meta's limits on calls with number: those with the same access
// token and those of the same WhatsApp Business Account, and number itself.
func (p *Policy) Siblings(ctx context.Context, number string) []string {
	siblings, err := p.Accounts.Siblings(ctx, number)
	if err != nil {
		p.Log.Warn("cannot read which numbers share an account, only those with the same access token are paused", "phone_number_id", number, "err", err)
	}
	siblings = append(siblings, number)
	own, _ := p.Token(number)
	for _, n := range p.Numbers() {
		if token, _ := p.Token(n); own != "" && token == own {
			siblings = append(siblings, n)
		}
	}
	slices.Sort(siblings)
	return slices.Compact(siblings)
}

// LostWrites holds the numbers of a shard whose Redis is proven to have lost writes, whichever worker serves them.
func (p *Policy) LostWrites(ctx context.Context, shard message.Shard) {
	numbers, err := p.in(ctx, shard)
	if err != nil {
		p.Log.Error("cannot read which numbers of a shard have messages, only the configured ones are held", "shard", shard, "err", err)
	}
	for _, number := range numbers {
		_, err := p.Holds.Set(ctx, message.Hold{
			Number: number, Reason: lostWritesReason, By: BySluice,
			Until: time.Now().Add(lostWritesHold),
		})
		if err != nil {
			p.Log.Error("cannot set hold", "phone_number_id", number, "err", err)
		}
	}
}

// Restored holds the numbers of a shard until an operator releases them: Redis lost more than workers
// remember, so messages that it has as queued may have been sent. depth is how much it lost; 0: not known.
func (p *Policy) Restored(ctx context.Context, shard message.Shard, depth time.Duration) error {
	lost := "unknown"
	if depth > 0 {
		lost = depth.String()
	}
	numbers, err := p.in(ctx, shard)
	if err != nil {
		return err
	}
	for _, number := range numbers {
		if _, err := p.Holds.Set(ctx, message.Hold{Number: number, Reason: restoredReason, By: ByRestore, Replaces: true}); err != nil {
			return err
		}
		p.Log.Error("Redis lost more writes than workers remember: the number is held until an operator releases it", "phone_number_id", number, "shard", shard, "lost", lost)
	}
	return nil
}

// in returns the numbers of a shard: those that are configured here, and those that have messages in Redis. After an
// error it returns the configured ones.
func (p *Policy) in(ctx context.Context, shard message.Shard) ([]string, error) {
	numbers := slices.DeleteFunc(slices.Clone(p.Numbers()), func(number string) bool { return p.Shards.Of(number) != shard })
	others, err := p.Working(ctx, shard)
	numbers = append(numbers, others...)
	slices.Sort(numbers)
	return slices.Compact(numbers), err
}

// release releases the holds of BySluice that over selects. The number then probes, so if Meta still refuses,
// only one message is refused.
func (p *Policy) release(ctx context.Context, why string, over func(message.Hold) bool) error {
	holds, err := p.Holds.List(ctx)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if h.By != BySluice || !over(h) {
			continue
		}
		_, err := p.Holds.Release(ctx, message.Hold{Number: h.Number, Template: h.Template, Tag: h.Tag, Campaign: h.Campaign, Client: h.Client, By: BySluice, Reason: why})
		if err != nil {
			return err
		}
		p.Log.Info("hold released", "target", h.On(), "reason", why)
	}
	return nil
}
