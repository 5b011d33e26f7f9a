package campaigns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

const (
	// watchEvery is how often a Watch reads the cancelled campaigns and the settings.
	watchEvery = time.Second
	// Noticed is when every Watch has noticed a campaign that was cancelled.
	Noticed = 5 * time.Second
	// dayEdge is how long before the end of a day a campaign with a cap sends nothing: a message that was counted for the day waits for its slot.
	dayEdge = 2 * time.Second
	// capEvery is how often a campaign whose cap is reached is fetched again: a message that is counted can be back at the head of its list, for a
	// retry or because its worker died.
	capEvery = 10 * time.Second
)

// Watch knows the cancelled campaigns and the settings of campaigns without asking Redis. It is safe for concurrent use.
type Watch struct {
	store *Store
	log   *slog.Logger
	known atomic.Pointer[known]
}

// known is what a Watch knows, by the names of flows.
type known struct {
	cancelled map[string]bool
	settings  map[string]*setting
	revision  string // of settings
}

// setting is the settings of a campaign, and until when its cap lets nothing go.
type setting struct {
	message.CampaignSettings
	text   string       // that is stored
	closed atomic.Int64 // Unix ms of Redis's clock
}

// NewWatch returns a Watch that knows none until Read or Run.
func NewWatch(s *Store, log *slog.Logger) *Watch { return &Watch{store: s, log: log} }

// Run reads the cancelled campaigns and the settings every second, until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		w.Read(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Read reads the cancelled campaigns, and the settings if they changed. If Redis does not answer, what was read before stays, and the log says so.
func (w *Watch) Read(ctx context.Context) {
	var cancelled *redis.StringSliceCmd
	var revision *redis.StringCmd
	err := w.store.db.Pipe(ctx, func(p redis.Pipeliner) {
		cancelled, revision = p.HKeys(ctx, cancelledKey()), p.Get(ctx, revisionKey())
	})
	if errors.Is(err, redis.Nil) {
		err = nil // nothing was ever set
	}
	before, next := w.known.Load(), known{map[string]bool{}, map[string]*setting{}, revision.Val()}
	var settings map[string]string
	switch {
	case err != nil:
	case before != nil && before.revision == next.revision:
		next.settings = before.settings
	default:
		settings, err = w.store.db.HGetAll(ctx, settingsKey()).Result()
	}
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("cannot read the settings of campaigns and the cancelled ones, will retry", "err", err)
		}
		return
	}
	for _, name := range cancelled.Val() {
		next.cancelled[name] = true
	}
	for name, text := range settings {
		if before != nil && before.settings[name] != nil && before.settings[name].text == text {
			next.settings[name] = before.settings[name] // it may be closed
			continue
		}
		one := &setting{text: text}
		one.Flow = message.FlowOf(name)
		if err := json.Unmarshal([]byte(text), &one.CampaignSettings); err != nil {
			one.closed.Store(math.MaxInt64)
			w.log.Error("cannot read the settings of a campaign, it is not sent until they are set again", "client", one.Client, "campaign", one.Campaign, "err", err)
		}
		next.settings[name] = one
	}
	w.known.Store(&next)
}

// Cancelled reports whether a campaign was cancelled, as of the last reading.
func (w *Watch) Cancelled(f message.Flow) bool {
	k := w.known.Load()
	return k != nil && len(k.cancelled) > 0 && k.cancelled[f.String()]
}

// of returns the settings of a campaign; nil: there are none.
func (w *Watch) of(f message.Flow) *setting {
	k := w.known.Load()
	if k == nil || len(k.settings) == 0 {
		return nil
	}
	return k.settings[f.String()]
}

// Settings returns the settings of a campaign, as of the last reading.
func (w *Watch) Settings(f message.Flow) message.CampaignSettings {
	if s := w.of(f); s != nil {
		return s.CampaignSettings
	}
	return message.CampaignSettings{}
}

// Gate returns how often a message of a campaign may be fetched now. Before the first reading none may.
func (w *Watch) Gate(f message.Flow) (g message.Gate) {
	if w.known.Load() == nil {
		return message.Gate{Closed: true}
	}
	s := w.of(f)
	if s == nil {
		return g
	}
	now := w.store.now()
	g.Capped = s.CapPerDay > 0
	if g.Closed = now.UnixMilli() < s.closed.Load(); g.Closed {
		return g
	}
	if rate := s.RateAt(now); rate > 0 {
		g.Every = time.Duration(math.Ceil(1e6/rate)) * time.Microsecond
	}
	return g
}

// Admit counts messages of campaigns against the caps of the running day, and returns for each whether it may be sent now. One that was counted
// on this day is admitted again, and counts once. A campaign of which one is refused is closed for capEvery, or until the day ends. It is one round trip.
func (w *Watch) Admit(ctx context.Context, all []message.CapAsk) ([]bool, error) {
	now, may := w.store.now(), make([]bool, len(all))
	groups := map[message.Flow]*group{}
	for i, ask := range all {
		g := groups[ask.Flow]
		if g == nil {
			g = &group{s: w.of(ask.Flow)}
			groups[ask.Flow] = g
			if g.s == nil || g.s.CapPerDay == 0 { // it was removed meanwhile
				g.s = nil
			} else if g.day, g.end = g.s.Day(now); !now.Before(g.end.Add(-dayEdge)) {
				g.s.closed.Store(g.end.UnixMilli())
			} else {
				g.args = []any{g.s.CapPerDay, g.end.Add(sentLife).UnixMilli()}
			}
		}
		if may[i] = g.s == nil; g.args != nil {
			g.args, g.of = append(g.args, ask.ID), append(g.of, i)
		}
	}
	err := w.store.db.Pipe(ctx, func(p redis.Pipeliner) {
		for f, g := range groups {
			if g.args != nil {
				g.reply = w.store.admit.Add(ctx, p, []string{sentKey(f, g.day)}, g.args...)
			}
		}
	})
	for _, g := range groups {
		if err != nil || g.args == nil {
			continue
		}
		var admitted []int64
		if admitted, err = g.reply.Int64Slice(); err == nil && len(admitted) != len(g.of) {
			err = fmt.Errorf("%d replies for %d messages", len(admitted), len(g.of))
		}
		for k, is := range admitted {
			if err == nil && is == 1 {
				may[g.of[k]] = true
			} else if err == nil {
				g.s.closed.Store(min(g.end.UnixMilli(), now.Add(capEvery).UnixMilli()))
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("count messages of campaigns: %w", err)
	}
	return may, nil
}

// group is what is asked of one campaign.
type group struct {
	s     *setting // nil: it has no cap
	day   string
	end   time.Time
	args  []any // of the script; nil: nothing may go
	of    []int // the index of each id
	reply *redis.Cmd
}
