package queue

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/message"
	"sluice/internal/store"
)

var (
	//go:embed hold.lua
	holdLua string
	//go:embed lift.lua
	liftLua string
)

// Holds orders and lists holds. It is safe for concurrent use.
type Holds struct {
	db         *store.DB
	shards     message.Shards
	hold, lift store.Script
}

// NewHolds returns the holds of an installation.
func NewHolds(db *store.DB, shards message.Shards) *Holds {
	return &Holds{db, shards, db.Script(holdLua), db.Script(liftLua)}
}

// holdsKey is a shard's holds, by what they hold: a hash. A value begins with the end of the
// hold in Unix milliseconds (0: none), for the scripts; a plus and further milliseconds may follow, in
// which one task at a time is let go, to find out whether all may go; then a blank and JSON. What is of
// no number stands in every shard. A field that begins with "probe:" names a task that may go.
func holdsKey(s message.Shard) string { return store.Key(s, "holds") }

// Name names what is held, as Later, the keys in Redis and take.lua do.
func Name(h message.Hold) string {
	switch {
	case h.Template != "":
		return "template:" + h.Number + ":" + h.Template
	case h.Tag != "":
		return "tag:" + h.Number + ":" + h.Tag
	case h.Number != "":
		return "number:" + h.Number
	}
	return "all"
}

// of are the shards in which a hold stands.
func (hs *Holds) of(h message.Hold) []message.Shard {
	if h.Number == "" {
		return hs.shards.All()
	}
	return []message.Shard{hs.shards.Of(h.Number)}
}

// deed is what is noted of a hold, or of its end, in the i-th of its shards: once.
func deed(verb string, h message.Hold, i int) (string, error) {
	if i > 0 {
		return "", nil
	}
	about, err := json.Marshal(message.AuditEntry{Verb: verb, On: h.On(), Actor: h.By, Key: h.Key, Reason: h.Reason})
	return string(about), err
}

// Set orders a hold until a time by this machine's clock, and returns the one that is there then: one that
// lasts as long stays. Its effect begins with the next slots. It may be repeated.
func (hs *Holds) Set(ctx context.Context, h message.Hold) (message.Hold, error) {
	offset := hs.db.ClockOffset() // Redis's clock decides when it ends
	if h.Since.IsZero() {
		h.Since = time.Now().Add(offset).UTC()
	}
	if !h.Until.IsZero() {
		h.Until = h.Until.Add(offset)
	}
	about, err := json.Marshal(h)
	if err != nil {
		return h, fmt.Errorf("hold: %w", err)
	}
	until := int64(0)
	if !h.Until.IsZero() {
		until = h.Until.UnixMilli()
	}
	ends := strconv.FormatInt(until, 10)
	if h.Probe > 0 && until > 0 {
		ends += "+" + strconv.FormatInt(h.Probe.Milliseconds(), 10)
	}
	replies, err := hs.run(ctx, hs.hold, h, message.VerbHold, Name(h), ends, about)
	if err == nil {
		var text string
		if text, err = replies[0].Text(); err == nil {
			err = json.Unmarshal([]byte(text), &h)
		}
	}
	if err != nil {
		return h, fmt.Errorf("hold: %w", err)
	}
	return h, nil
}

// Lift ends the hold on what h is on, by order of h.By and for h.Reason. Held messages go back
// to the heads of their queues. It is false when there was none.
func (hs *Holds) Lift(ctx context.Context, h message.Hold) (bool, error) {
	replies, err := hs.run(ctx, hs.lift, h, message.VerbRelease, Name(h))
	if err != nil {
		return false, fmt.Errorf("lift hold: %w", err)
	}
	if h.Number != "" {
		hs.db.Publish(ctx, wakeChannel(hs.shards.Of(h.Number)), h.Number) // or it is seen at the next look
	}
	return slices.ContainsFunc(replies, func(c *redis.Cmd) bool { n, _ := c.Int(); return n > 0 }), nil
}

// run runs a script in each shard of a hold, with args and the deed to note.
func (hs *Holds) run(ctx context.Context, s store.Script, h message.Hold, verb string, args ...any) ([]*redis.Cmd, error) {
	shards := hs.of(h)
	noted := make([]string, len(shards))
	for i := range shards {
		var err error
		if noted[i], err = deed(verb, h, i); err != nil {
			return nil, err
		}
	}
	replies := make([]*redis.Cmd, len(shards))
	err := hs.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, shard := range shards {
			replies[i] = s.Add(ctx, p, []string{holdsKey(shard), audit.Key(shard)}, append(slices.Clone(args), noted[i])...)
		}
	})
	return replies, err
}

// List returns all holds that have not ended, by number, template and tag.
func (hs *Holds) List(ctx context.Context) ([]message.Hold, error) {
	all := make([]*redis.MapStringStringCmd, hs.shards)
	err := hs.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range hs.shards.All() {
			all[i] = p.HGetAll(ctx, holdsKey(s))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	var holds []message.Hold
	seen := map[string]bool{}
	for _, c := range all {
		for field, value := range c.Val() {
			if strings.HasPrefix(field, "probe:") {
				continue
			}
			h, err := hs.parseHold(value)
			if err != nil {
				return nil, fmt.Errorf("hold %s: %w", field, err)
			}
			if !seen[field] && !hs.ended(h) {
				holds = append(holds, h)
			}
			seen[field] = true
		}
	}
	slices.SortFunc(holds, func(a, b message.Hold) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Template, b.Template), cmp.Compare(a.Tag, b.Tag))
	})
	return holds, nil
}

// On returns the holds that keep a message, the widest first.
func (hs *Holds) On(ctx context.Context, c message.Context) ([]message.Hold, error) {
	may := []message.Hold{{}, {Number: c.From}}
	if c.Template != "" {
		may = append(may, message.Hold{Number: c.From, Template: c.Template})
	}
	for _, tag := range c.Tags {
		may = append(may, message.Hold{Tag: tag}, message.Hold{Number: c.From, Tag: tag})
	}
	fields := make([]string, len(may))
	for i, h := range may {
		fields[i] = Name(h)
	}
	values, err := hs.db.HMGet(ctx, holdsKey(hs.shards.Of(c.From)), fields...).Result()
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	var holds []message.Hold
	for i, v := range values {
		value, held := v.(string)
		if !held {
			continue
		}
		h, err := hs.parseHold(value)
		if err != nil {
			return nil, fmt.Errorf("hold %s: %w", fields[i], err)
		}
		if !hs.ended(h) {
			holds = append(holds, h)
		}
	}
	return holds, nil
}

// parseHold reads a hold. One that probes ends when it has done so for long enough.
func (hs *Holds) parseHold(value string) (h message.Hold, err error) {
	ends, about, _ := strings.Cut(value, " ")
	err = json.Unmarshal([]byte(about), &h)
	until, probes, _ := strings.Cut(ends, "+")
	at, _ := strconv.ParseInt(until, 10, 64)
	rest, _ := strconv.ParseInt(probes, 10, 64)
	if h.Probe = time.Duration(rest) * time.Millisecond; rest > 0 {
		if h.Until = time.UnixMilli(at).UTC(); hs.ended(h) {
			h.Until = h.Until.Add(h.Probe)
		}
	}
	return h, err
}

func (hs *Holds) ended(h message.Hold) bool {
	return !h.Until.IsZero() && !h.Until.After(time.Now().Add(hs.db.ClockOffset()))
}
