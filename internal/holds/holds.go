// Package holds stores the holds: what is not sent, why, and until when. Operators and Sluice itself set and
// release them; the scripts of package dispatch keep the tasks that they are about.
package holds

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/message"
	"sluice/internal/store"
)

// HeldLua defines held(), which returns whether a hold is in force, for scripts that fetch tasks.
//
//go:embed held.lua
var HeldLua string

var (
	//go:embed set.lua
	setLua string
	//go:embed release.lua
	releaseLua string
)

// auditLua is in front of the scripts that append to the audit log.
var auditLua = fmt.Sprintf("local AUDIT = '%s' -- the field of an entry\n", audit.Field)

// Store sets, releases and lists holds. It is safe for concurrent use.
type Store struct {
	db           *store.DB
	shards       message.Shards
	log          *slog.Logger
	set, release store.Script
}

// New returns the holds of an installation. The log names those that cannot be read.
func New(db *store.DB, shards message.Shards, log *slog.Logger) *Store {
	return &Store{db, shards, log, db.Script(auditLua + HeldLua + setLua), db.Script(auditLua + releaseLua)}
}

// Key is the Redis key of a shard's holds, a hash by Name. A value begins with the end of the hold in Unix
// milliseconds (0: none), for the scripts; a plus and further milliseconds may follow, in which one task at a
// time is sent, to find out whether all may go; then a blank and the hold as JSON. A hold that is of no
// number is in every shard. A field that begins with "probe:" names a task that may go.
func Key(s message.Shard) string { return store.Key(s, "holds") }

// probePrefix begins the fields that name tasks.
const probePrefix = "probe:"

// ProbeField is the field that names a task of a number that may go although its template is held.
func ProbeField(number, task string) string { return probePrefix + number + ":" + task }

// Name names what is held, in the keys of Redis and in the scripts.
func Name(h message.Hold) string {
	switch {
	case h.Template != "":
		return "template:" + h.Number + ":" + h.Template
	case h.Tag != "":
		return "tag:" + h.Number + ":" + h.Tag
	case h.Campaign != "":
		return "campaign:" + h.Number + ":" + h.Flow().String()
	case h.Number != "":
		return "number:" + h.Number
	}
	return "all"
}

// named is the opposite of Name.
func named(name string) (h message.Hold) {
	kind, rest, _ := strings.Cut(name, ":")
	switch kind {
	case "template":
		h.Number, h.Template, _ = strings.Cut(rest, ":")
	case "tag":
		h.Number, h.Tag, _ = strings.Cut(rest, ":")
	case "campaign":
		var name string
		h.Number, name, _ = strings.Cut(rest, ":")
		f := message.FlowOf(name)
		h.Client, h.Campaign = f.Client, f.Campaign
	case "number":
		h.Number = rest
	}
	return h
}

// KeepAll reports whether one of some holds keeps all messages of a number.
func KeepAll(all []message.Hold, number string) bool {
	return slices.ContainsFunc(all, func(h message.Hold) bool {
		return h.Whole() && (h.Number == "" || h.Number == number)
	})
}

// of returns the shards in which a hold is stored.
func (st *Store) of(h message.Hold) []message.Shard {
	if h.Number == "" {
		return st.shards.All()
	}
	return []message.Shard{st.shards.Of(h.Number)}
}

// Set sets a hold until a time by this machine's clock, and returns the one that is there then, with times by Redis's
// clock: a hold that lasts as long is not changed, unless h replaces it. It takes effect with the next slots. It may be repeated.
func (st *Store) Set(ctx context.Context, h message.Hold) (message.Hold, error) {
	offset := st.db.ClockOffset() // Redis's clock decides when it ends
	if h.Since.IsZero() {
		h.Since = time.Now().Add(offset).UTC()
	}
	if !h.Until.IsZero() {
		h.Until = h.Until.Add(offset)
	}
	about, err := json.Marshal(h)
	if err != nil {
		return h, fmt.Errorf("set hold: %w", err)
	}
	until := int64(0)
	if !h.Until.IsZero() {
		until = h.Until.UnixMilli()
	}
	ends := strconv.FormatInt(until, 10)
	if h.Probe > 0 && until > 0 {
		ends += "+" + strconv.FormatInt(h.Probe.Milliseconds(), 10)
	}
	replaces := 0
	if h.Replaces {
		replaces = 1
	}
	replies, err := st.run(ctx, st.set, h, message.VerbHold, Name(h), ends, about, replaces)
	if err != nil {
		return h, fmt.Errorf("set hold: %w", err)
	}
	text, err := replies[0].Text()
	if err != nil {
		return h, fmt.Errorf("set hold: %w", err)
	}
	return st.decode(Name(h), text), nil
}

// Release ends the hold on what h is on, by order of h.By and for h.Reason. Held tasks return to the heads
// of their queues. It is false when there was no such hold.
func (st *Store) Release(ctx context.Context, h message.Hold) (bool, error) {
	replies, err := st.run(ctx, st.release, h, message.VerbRelease, Name(h))
	if err != nil {
		return false, fmt.Errorf("release hold: %w", err)
	}
	if h.Number != "" {
		st.db.Publish(ctx, store.WakeChannel(st.shards.Of(h.Number)), h.Number) // or its workers notice at their next fetch
	}
	return slices.ContainsFunc(replies, func(c *redis.Cmd) bool { n, _ := c.Int(); return n > 0 }), nil
}

// run runs a script in each shard of a hold, with args and the audit entry. Only the first shard gets the
// entry, so that it is in the log once.
func (st *Store) run(ctx context.Context, s store.Script, h message.Hold, verb string, args ...any) ([]*redis.Cmd, error) {
	entry, err := json.Marshal(message.AuditEntry{Verb: verb, On: h.On(), Actor: h.By, Key: h.Key, Reason: h.Reason})
	if err != nil {
		return nil, err
	}
	shards := st.of(h)
	replies := make([]*redis.Cmd, len(shards))
	err = st.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, shard := range shards {
			text := entry
			if i > 0 {
				text = nil
			}
			replies[i] = s.Add(ctx, p, []string{Key(shard), audit.Key(shard)}, append(slices.Clone(args), text)...)
		}
	})
	return replies, err
}

// List returns all holds that have not ended, by number, template, tag and campaign. One that cannot be read is among
// them, for it is in force, and says so in its reason.
func (st *Store) List(ctx context.Context) ([]message.Hold, error) {
	all := make([]*redis.MapStringStringCmd, st.shards)
	err := st.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range st.shards.All() {
			all[i] = p.HGetAll(ctx, Key(s))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	var holds []message.Hold
	seen := map[string]bool{}
	for _, c := range all {
		for name, value := range c.Val() {
			if strings.HasPrefix(name, probePrefix) || seen[name] {
				continue
			}
			seen[name] = true
			if h := st.read(name, value); !st.ended(h) {
				holds = append(holds, h)
			}
		}
	}
	slices.SortFunc(holds, func(a, b message.Hold) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Template, b.Template), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Flow().String(), b.Flow().String()))
	})
	return holds, nil
}

// On returns the holds that keep a message, the widest first.
func (st *Store) On(ctx context.Context, c message.Context) ([]message.Hold, error) {
	may := []message.Hold{{}, {Number: c.From}}
	if c.Template != "" {
		may = append(may, message.Hold{Number: c.From, Template: c.Template})
	}
	for _, tag := range c.Tags {
		may = append(may, message.Hold{Tag: tag}, message.Hold{Number: c.From, Tag: tag})
	}
	if c.Campaign != "" {
		may = append(may, message.Hold{Client: c.Client, Campaign: c.Campaign}, message.Hold{Number: c.From, Client: c.Client, Campaign: c.Campaign})
	}
	names := make([]string, len(may))
	for i, h := range may {
		names[i] = Name(h)
	}
	values, err := st.db.HMGet(ctx, Key(st.shards.Of(c.From)), names...).Result()
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	var holds []message.Hold
	for i, v := range values {
		value, held := v.(string)
		if !held {
			continue
		}
		if h := st.read(names[i], value); !st.ended(h) {
			holds = append(holds, h)
		}
	}
	return holds, nil
}

// unreadable is the reason that a hold shows that cannot be read.
const unreadable = "The stored hold cannot be read. It stays in force until it is released."

// read reads a hold. One that probes ends when it has done so for long enough. The scripts read the end of
// a hold alone, so one whose JSON is damaged is in force all the same.
func (st *Store) read(name, value string) (h message.Hold) {
	ends, about, _ := strings.Cut(value, " ")
	until, probes, _ := strings.Cut(ends, "+")
	at, _ := strconv.ParseInt(until, 10, 64)
	rest, _ := strconv.ParseInt(probes, 10, 64)
	if h = st.decode(name, about); Unreadable(h) && at > 0 {
		h.Until = time.UnixMilli(at).UTC()
	}
	if h.Probe = time.Duration(rest) * time.Millisecond; rest > 0 {
		if h.Until = time.UnixMilli(at).UTC(); st.ended(h) {
			h.Until = h.Until.Add(h.Probe)
		}
	}
	return h
}

// Unreadable reports whether a hold that List or On returned cannot be read.
func Unreadable(h message.Hold) bool { return h.Reason == unreadable }

// decode reads the JSON of a hold. Where that fails it returns what the name of the hold says.
func (st *Store) decode(name, about string) (h message.Hold) {
	err := json.Unmarshal([]byte(about), &h)
	if err == nil && Name(h) == name {
		return h
	}
	st.log.Warn("cannot read hold, it stays in force", "hold", name, "err", err)
	h = named(name)
	h.Reason, h.By = unreadable, "unknown"
	return h
}

func (st *Store) ended(h message.Hold) bool {
	return !h.Until.IsZero() && !h.Until.After(time.Now().Add(st.db.ClockOffset()))
}
