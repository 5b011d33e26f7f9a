package autoreply

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

// start is the settings of a number, and since when it has automatic replies.
type start struct {
	*config.AutoReply
	texts map[string]string // by the words of the rules
	since int64             // in Unix milliseconds by the clock of Redis; 0: not known yet
}

// sinceKey is a hash: by number, since when it has automatic replies. It survives restarts, so that messages of a downtime are answered, and those
// from before are not. A change of the settings does not change it.
func sinceKey(s message.Shard) string { return store.Key(s, "replies:since") }

func newStart(s *config.AutoReply) start {
	one := start{AutoReply: s, texts: map[string]string{}}
	for _, rule := range s.Rules {
		for _, word := range rule.Words {
			if w := suppression.Word(word); one.texts[w] == "" {
				one.texts[w] = rule.Text
			}
		}
	}
	return one
}

// refresh reads which numbers have automatic replies, and since when. When no number has any more, it removes the consumer group, so that
// the group does not lag behind.
func (r *Replier) refresh(ctx context.Context) error {
	if r.starts != nil && time.Since(r.refreshed) < refreshEvery {
		return nil
	}
	next := map[string]start{}
	for _, number := range r.o.Numbers() {
		s := r.o.Settings(number)
		if s == nil {
			continue
		}
		was, known := r.starts[number]
		if !known || was.AutoReply != s {
			since := was.since
			was = newStart(s)
			was.since = since
		}
		next[number] = was
	}
	if len(next) > 0 && r.o.Person == nil {
		if !r.warned {
			r.o.Log.Error("automatic replies have no effect without a secrets key: set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for all programs")
		}
		r.warned, next = true, map[string]start{}
	}
	if r.starts == nil || !sameKeys(next, r.starts) {
		if err := r.keepStarts(ctx, next); err != nil {
			return err
		}
	}
	if len(next) == 0 && (r.starts == nil || len(r.starts) > 0) {
		if err := r.group.Destroy(ctx); err != nil {
			return err
		}
	}
	r.starts, r.refreshed = next, time.Now()
	return nil
}

func sameKeys(a, b map[string]start) bool {
	for number := range a {
		if _, is := b[number]; !is {
			return false
		}
	}
	return len(a) == len(b)
}

// keepStarts reads since when numbers have automatic replies, stores it for new ones, and deletes it of those that have none any more.
func (r *Replier) keepStarts(ctx context.Context, next map[string]start) error {
	shards := r.o.Shards.All()
	known := make([]*redis.MapStringStringCmd, len(shards))
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			known[i] = p.HGetAll(ctx, sinceKey(s))
		}
	})
	if err != nil {
		return fmt.Errorf("read since when automatic replies apply: %w", err)
	}
	now := time.Now().Add(r.db.ClockOffset()).UnixMilli()
	err = r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			stored := known[i].Val()
			for number := range stored {
				if _, is := next[number]; !is {
					p.HDel(ctx, sinceKey(s), number)
				}
			}
		}
		for number, one := range next {
			s := r.o.Shards.Of(number)
			at, err := strconv.ParseInt(known[s].Val()[number], 10, 64)
			if err != nil {
				at = now
				p.HSet(ctx, sinceKey(s), number, at)
			}
			one.since = at
			next[number] = one
		}
	})
	if err != nil {
		return fmt.Errorf("store since when automatic replies apply: %w", err)
	}
	return nil
}
