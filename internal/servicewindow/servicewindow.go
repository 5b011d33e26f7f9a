// Package servicewindow knows when the customer service windows of people close. Meta takes free-form messages to a person for 24
// hours after the person last wrote to the number or called it, and only templates after that.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
//
// Sluice knows only what Meta reported. So a window is closed only if Sluice must have seen what would have opened it: see
// Windows.knows. In all other cases Meta decides.
package servicewindow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/store"
)

const (
	// Length is how long a window is open after the person last wrote or called.
	Length = 24 * time.Hour
	// margin is how much earlier than Meta a window counts as closed: a message leaves some time after it was checked, Meta's
	// times are in whole seconds, and the clocks differ.
	margin = 5 * time.Second
	// keep is how long a bucket is kept after the last report.
	keep = Length + time.Hour
	// buckets is how many sorted sets the people of a number have. Redis stores small ones compactly.
	buckets = 1 << 12
	// epoch makes scores small: Redis stores integers of 32 bits compactly.
	epoch = 1735689600 // the year 2025
)

// key is a sorted set of people who wrote to a number or called it, by when, in Unix seconds after epoch.
func key(s message.Shard, number string, p people.ID) string {
	bucket := int(binary.BigEndian.Uint16(p[:])) % buckets
	return store.Key(s, "windows:"+number+":"+strconv.Itoa(bucket))
}

// Options configure Windows. All are required, except Log.
type Options struct {
	Shards  message.Shards
	People  *people.People
	Numbers func() []string          // the configured phone number ids
	Tracked func(number string) bool // reports whether the windows of a number are tracked. It must not block
	// Channel returns whether Meta's webhooks about a number reach Sluice.
	Channel func(ctx context.Context, number string) (message.Channel, error)
	// Repeats returns how long Meta gets to repeat the webhooks of a number that were refused or missed.
	Repeats func(number string) time.Duration
	// Watermark returns a time before which everything that Meta reported to a shard is applied.
	Watermark func(ctx context.Context, shard message.Shard) (time.Time, error)
	// Applied blocks until everything is applied that Meta reported to a shard before the call. It is false when ctx ends first.
	Applied func(ctx context.Context, shard message.Shard) (bool, error)
	Log     *slog.Logger // nil: no logs
}

// Windows has the customer service windows of all numbers that track them, in Redis. It is safe for concurrent use.
type Windows struct {
	db  *store.DB
	o   Options
	log *slog.Logger

	mu     sync.Mutex
	known  map[string]knowledge // by number
	broken time.Time            // of Run: since when webhooks are refused or missed without a pause; zero: they are not
}

// New returns the windows of an installation.
func New(db *store.DB, o Options) *Windows {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Windows{db: db, o: o, log: o.Log, known: map[string]knowledge{}}
}

// Tracked reports whether the windows of a number are tracked. Without a secrets key and an index of recipients none are: then
// Sluice could not know that a phone number and a user id are one person. A nil Windows tracks none. It needs no round trip.
func (w *Windows) Tracked(number string) bool {
	return w != nil && w.o.People.On() && w.o.Tracked(number)
}

// Query asks for the window of a recipient with a number.
type Query struct {
	Number    string
	Recipient string // a phone number with or without its plus, or a user id
}

// Note stores that people wrote to numbers or called them, in any order and repeated: the latest counts. It is one round trip, and
// another one if names of people must be looked up, or none if no number tracks windows. A full Redis stores nothing: then the numbers are
// not tracked from now on, until Run begins anew.
func (w *Windows) Note(ctx context.Context, all []message.WindowReport) error {
	var asked []Query
	var at []time.Time
	for _, r := range all {
		if !w.Tracked(r.Number) {
			continue
		}
		for _, name := range []string{r.Phone, r.User} {
			if name != "" {
				asked, at = append(asked, Query{r.Number, name}), append(at, r.At)
			}
		}
	}
	if len(asked) == 0 {
		return nil
	}
	names, err := w.names(ctx, asked)
	if err != nil {
		return err
	}
	type member struct {
		key  string
		name people.ID
	}
	latest := map[member]int64{}
	old := int64(0)
	for i, q := range asked {
		s := w.o.Shards.Of(q.Number)
		old = w.db.Clock(ctx, store.Key(s, "windows")).Add(-Length).Unix() - epoch
		score := at[i].Unix() - epoch
		for _, name := range names[i] {
			if m := (member{key(s, q.Number, name), name}); score > max(old, latest[m]) {
				latest[m] = score
			}
		}
	}
	if len(latest) == 0 {
		return nil
	}
	err = w.db.Pipe(ctx, func(p redis.Pipeliner) {
		for m, score := range latest {
			p.ZAddGT(ctx, m.key, redis.Z{Score: float64(score), Member: string(m.name[:])})
			p.ZRemRangeByScore(ctx, m.key, "-inf", strconv.FormatInt(old, 10))
			p.PExpire(ctx, m.key, keep)
		}
	})
	if redis.IsOOMError(err) { // what else Meta reported must not wait
		var fields []string
		for _, q := range asked {
			fields = append(fields, w.field(q.Number))
		}
		var n int64
		if n, err = w.db.HDel(ctx, sinceKey, fields...).Result(); n > 0 {
			w.log.Warn("Redis is full, customer service windows are unknown for a day: Meta decides whether free-form messages may be sent")
		}
		w.mu.Lock()
		clear(w.known)
		w.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("store customer service windows: %w", err)
	}
	return nil
}

// names returns the names under which the person of each query may have a window: as people names the person, and the name itself,
// so that a window is found also if Sluice learned or forgot since that two names are one person. The next owner of a phone number
// may then count as a person with an open window, and Meta decides.
func (w *Windows) names(ctx context.Context, all []Query) ([][]people.ID, error) {
	ask := make([]people.Query, len(all))
	for i, q := range all {
		ask[i] = people.Query{Number: q.Number, Identity: w.o.People.Identity(q.Recipient)}
	}
	ids, err := w.o.People.Lookup(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("look up the people of customer service windows: %w", err)
	}
	names := make([][]people.ID, len(all))
	for i, id := range ids {
		if own := ask[i].Identity.Hash; own != id {
			names[i] = append(names[i], own)
		}
		if id != (people.ID{}) {
			names[i] = append(names[i], id)
		}
	}
	return names, nil
}

// Ends returns when the window of each recipient closes at Meta; zero: Sluice knows of no open one. It needs no round trip for numbers that do
// not track windows.
func (w *Windows) Ends(ctx context.Context, all []Query) ([]time.Time, error) {
	ends := make([]time.Time, len(all))
	var asked []Query
	var of []int
	for i, q := range all {
		if w.Tracked(q.Number) {
			asked, of = append(asked, q), append(of, i)
		}
	}
	if len(asked) == 0 {
		return ends, nil
	}
	names, err := w.names(ctx, asked)
	if err != nil {
		return nil, err
	}
	scores := make([][]*redis.FloatCmd, len(asked))
	err = w.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, q := range asked {
			scores[i] = nil
			for _, name := range names[i] {
				scores[i] = append(scores[i], p.ZScore(ctx, key(w.o.Shards.Of(q.Number), q.Number, name), string(name[:])))
			}
		}
	})
	if errors.Is(err, redis.Nil) { // a window that is not there; each command has its own error
		err = nil
	}
	for i, some := range scores {
		now := w.now(ctx, asked[i].Number)
		for _, score := range some {
			if score.Err() != nil && !errors.Is(score.Err(), redis.Nil) {
				err = score.Err()
			}
			if err != nil {
				return nil, fmt.Errorf("read customer service windows: %w", err)
			}
			if score.Err() != nil {
				continue
			}
			if end := time.Unix(int64(score.Val())+epoch, 0).Add(Length).UTC(); end.After(now.Add(margin)) && end.After(ends[of[i]]) {
				ends[of[i]] = end
			}
		}
	}
	return ends, nil
}

// now returns the time of the Redis that has the windows of a number.
func (w *Windows) now(ctx context.Context, number string) time.Time {
	return w.db.Clock(ctx, store.Key(w.o.Shards.Of(number), "windows"))
}

// Closed reports for each recipient whether the window is closed: free-form messages must not be sent. It is false also if Sluice
// cannot know. It is one round trip if all windows are open, and none for numbers that do not track them.
func (w *Windows) Closed(ctx context.Context, all []Query) ([]bool, error) {
	ends, err := w.Ends(ctx, all)
	if err != nil {
		return nil, err
	}
	closed := make([]bool, len(all))
	for i, q := range all {
		closed[i] = ends[i].IsZero() && w.Tracked(q.Number) && w.knows(ctx, q.Number)
	}
	return closed, nil
}

// settleWithin is how long ClosedNow waits until what Meta has reported is applied.
const settleWithin = time.Second

// ClosedNow is Closed for new messages. They may answer a message of which the caller knows already, and that is not applied yet. So
// before it returns that a window is closed, it waits until all is applied that Meta reported before the call, for up to a second.
func (w *Windows) ClosedNow(ctx context.Context, all []Query) ([]bool, error) {
	closed, err := w.Closed(ctx, all)
	if err != nil {
		return nil, err
	}
	var asked []Query
	var of []int
	waiting, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	applied := map[message.Shard]bool{}
	for i, q := range all {
		if !closed[i] {
			continue
		}
		s := w.o.Shards.Of(q.Number)
		if _, is := applied[s]; !is {
			applied[s], err = w.o.Applied(waiting, s)
			if err != nil && waiting.Err() == nil {
				return nil, err
			}
		}
		if closed[i] = applied[s]; closed[i] {
			asked, of = append(asked, q), append(of, i)
		}
	}
	if len(asked) == 0 {
		return closed, nil
	}
	again, err := w.Closed(ctx, asked)
	for i, is := range again {
		closed[of[i]] = is
	}
	return closed, err
}
