package autoreply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

// start is the settings of a number, and since when they apply.
type start struct {
	*config.AutoReply
	texts map[string]string // by the words of the rules
	sum   string            // distinguishes the settings from others
	since int64             // in Unix milliseconds by the clock of Redis; 0: not known yet
}

// sinceKey is a hash: by number, which settings apply, and since when. It survives restarts, so that messages of a downtime are answered, and
// those from before the settings are not.
func sinceKey(s message.Shard) string { return store.Key(s, "replies:since") }

func newStart(s *config.AutoReply) start {
	text, _ := json.Marshal(s) // cannot fail for strings
	sum := sha256.Sum256(text)
	one := start{AutoReply: s, texts: map[string]string{}, sum: hex.EncodeToString(sum[:8])}
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
	next, changed := map[string]start{}, r.starts == nil
	for _, number := range r.o.Numbers() {
		s := r.o.Settings(number)
		if s == nil {
			continue
		}
		was, known := r.starts[number]
		if !known || was.AutoReply != s {
			was, changed = newStart(s), true
		}
		next[number] = was
	}
	if len(next) > 0 && r.o.Person == nil {
		if !r.warned {
			r.o.Log.Error("automatic replies have no effect without a secrets key: set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for all programs")
		}
		r.warned, next = true, map[string]start{}
	}
	if changed || len(next) != len(r.starts) {
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

// keepStarts reads since when the settings of numbers apply, stores it for new settings, and deletes what is stored of other numbers.
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
			sum, since, _ := strings.Cut(known[s].Val()[number], " ")
			at, err := strconv.ParseInt(since, 10, 64)
			if sum != one.sum || err != nil {
				at = now
				p.HSet(ctx, sinceKey(s), number, one.sum+" "+strconv.FormatInt(at, 10))
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
