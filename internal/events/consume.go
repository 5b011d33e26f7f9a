package events

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

const (
	batch         = 200              // entries handed over at once
	maxDeliveries = 5                // then an entry is dead
	block         = time.Second      // how long one read waits; also how long a stop may take
	handleTimeout = 10 * time.Second // for one call of the handler and its acknowledgement
	minPause      = 100 * time.Millisecond
	maxPause      = 5 * time.Second
	// gather is how long a reader that has caught up lets events come together: three round
	// trips for each single one would be most of what Redis does.
	gather = 100 * time.Millisecond
)

// Handler handles events of one shard in their order. An event may come more than once. Its
// context outlives a stop, so that what was begun is finished.
type Handler = func(ctx context.Context, shard message.Shard, events []message.Event) error

// Consume hands the events of some types, of all where none is named, to handle as a member
// of a group, until ctx ends; it then returns nil, within a second or so. The group is made
// where it is missing and starts at the oldest entry. The shards are spread over the group's
// living members. Calls for different shards run at once, those for one shard do not.
//
// After an error of handle the same events come again one by one, with growing pauses;
// events that fail on their own five times, or that take five consumers down with them, are
// moved to the dead stream. While Redis is away Consume waits; its errors are logged.
//
// The consumer's name must be its own. Consume keeps one connection of the pool for each shard.
func (s *Stream) Consume(ctx context.Context, group, consumer string, types []string, handle Handler) error {
	var wg sync.WaitGroup
	share := s.newShare(group, consumer)
	wg.Go(func() { share.run(ctx) })
	for _, shard := range s.shards.All() {
		r := &reader{
			Stream: s, shard: shard, key: shard.StreamKey(), group: group, consumer: consumer,
			share: share, types: types, handle: handle, excused: map[string]int{},
			log: s.log.With(slog.String("group", group), slog.String("shard", shard.String())),
		}
		wg.Go(func() { r.run(ctx) })
	}
	wg.Wait()
	return nil
}

// reader is one consumer of one shard.
type reader struct {
	*Stream
	shard           message.Shard
	key             string
	group, consumer string
	share           *share
	types           []string // wanted; empty: all
	handle          Handler
	log             *slog.Logger

	joined  bool           // the group exists
	settled bool           // nothing of our own is left pending
	claimed time.Time      // when others' idle entries were last looked for
	excused map[string]int // id -> deliveries that failed for no fault of the entry
}

func (r *reader) run(ctx context.Context) {
	pause := minPause
	for ctx.Err() == nil {
		if mine, changed := r.share.mine(r.shard); !mine {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		err := r.step(ctx)
		if err == nil {
			pause = minPause
			continue
		}
		if ctx.Err() != nil {
			break
		}
		r.log.Warn("events not handled, will try again", slog.Any("err", err))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// A name left behind does no harm, so it does not matter when this fails.
	r.db.Run(ctx, r.retire, []string{r.key}, r.group, r.consumer)
}

// step does what is to be done next: what an earlier life or a failure left, what dead
// consumers left, then what is new.
func (r *reader) step(ctx context.Context) error {
	if !r.joined {
		err := r.db.XGroupCreateMkStream(ctx, r.key, r.group, "0").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return err
		}
		r.joined, r.settled = true, false
	}
	if !r.settled {
		n, err := r.again(ctx, &redis.XPendingExtArgs{Consumer: r.consumer})
		if err != nil {
			return r.check(err)
		}
		if n == 0 {
			clear(r.excused)
		}
		r.settled = n < batch
	}
	if time.Since(r.claimed) > r.o.MinIdle/2 {
		if _, err := r.again(ctx, &redis.XPendingExtArgs{Idle: r.o.MinIdle}); err != nil {
			r.settled = false
			return r.check(err)
		}
		r.claimed = time.Now()
	}
	fresh, err := r.db.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: r.group, Consumer: r.consumer, Streams: []string{r.key, ">"}, Count: batch, Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err == nil {
		err = r.take(ctx, fresh[0].Messages)
	}
	if err != nil {
		r.settled = false
		return r.check(err)
	}
	if len(fresh[0].Messages) < batch {
		select {
		case <-ctx.Done():
		case <-time.After(gather):
		}
	}
	return nil
}

// check notices when the group is gone, after somebody emptied Redis.
func (r *reader) check(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), "NOGROUP") {
		r.joined = false
	}
	return err
}

// take hands entries over together and acknowledges them. It does so under its own time, for
// they are ours now and would otherwise wait until somebody claims them.
func (r *reader) take(ctx context.Context, entries []redis.XMessage) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), handleTimeout, errors.New("handling events took too long"))
	defer cancel()
	var events []message.Event
	var ids []string
	for _, x := range entries {
		if !r.wants(x) {
			ids = append(ids, x.ID)
			continue
		}
		e, err := decode(x.Values)
		if err != nil {
			if err := r.dead(ctx, x.ID, "unreadable"); err != nil {
				return err
			}
			continue
		}
		events, ids = append(events, e), append(ids, x.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	if len(events) > 0 {
		if err := r.handle(ctx, r.shard, events); err != nil {
			if away(err) {
				for _, id := range ids {
					r.excused[id]++
				}
			}
			return err
		}
	}
	return r.db.XAck(ctx, r.key, r.group, ids...).Err()
}

// wants tells by the head of an entry, which we wrote, whether it is of a wanted type: most
// are not, and to decode them all would be much of a worker's work.
func (r *reader) wants(x redis.XMessage) bool {
	text, _ := x.Values[field].(string)
	_, rest, found := strings.Cut(text[:min(len(text), 64)], `"type":"`)
	kind, _, closed := strings.Cut(rest, `"`)
	return len(r.types) == 0 || !found || !closed || slices.Contains(r.types, kind)
}

// again handles pending entries one by one, so that one that cannot be handled harms none
// but itself: each is delivered, and counted by Redis as delivered, only when its turn has
// come. It returns how many there were, and the first error.
func (r *reader) again(ctx context.Context, which *redis.XPendingExtArgs) (n int, first error) {
	which.Stream, which.Group, which.Start, which.End, which.Count = r.key, r.group, "-", "+", batch
	pending, err := r.db.XPendingExt(ctx, which).Result()
	if err != nil {
		return 0, err
	}
	for _, p := range pending {
		if ctx.Err() != nil {
			break
		}
		err := r.retry(ctx, p, which.Idle)
		if err == nil {
			delete(r.excused, p.ID)
		} else if first == nil {
			first = err
		}
		if err != nil && away(err) {
			break
		}
	}
	return len(pending), first
}

func (r *reader) retry(ctx context.Context, p redis.XPendingExt, idle time.Duration) error {
	if int(p.RetryCount)-r.excused[p.ID] >= maxDeliveries {
		return r.dead(ctx, p.ID, "failed in every delivery")
	}
	claimed, err := r.db.XClaim(ctx, &redis.XClaimArgs{
		Stream: r.key, Group: r.group, Consumer: r.consumer, MinIdle: idle, Messages: []string{p.ID},
	}).Result()
	if err != nil {
		return err
	}
	if len(claimed) == 0 { // another consumer was first, or the entry was deleted by hand
		return nil
	}
	r.metrics.retried.Inc()
	return r.take(ctx, claimed)
}

func (r *reader) dead(ctx context.Context, id, why string) error {
	err := r.db.Run(ctx, r.bury, []string{r.key, DeadKey(r.shard)}, r.group, id, why, maxDead).Err()
	if err != nil {
		return err
	}
	r.metrics.dead.Inc()
	r.log.Error("event moved to the dead stream", slog.String("entry", id), slog.String("reason", why))
	return nil
}

// away tells a store that cannot work at present from a failure that an entry may be to
// blame for.
func away(err error) bool {
	var n net.Error
	if errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed) {
		return true
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	switch word, _, _ := strings.Cut(reply.Error(), " "); word {
	case "LOADING", "READONLY", "OOM", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY", "UNBLOCKED":
		return true
	}
	return false
}
