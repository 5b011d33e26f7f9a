package queue

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/store"
)

const (
	// pairBucket is how much time one string of the log of recipients covers, pairBuckets how many
	// of them still limit anything, pairKept how long Redis keeps each.
	pairBucket  = pacing.PairEvery
	pairBuckets = int64(pacing.PairWindow / pairBucket)
	pairKept    = pacing.PairWindow + 30*time.Second
)

// pairsKey is a part of the log of the recipients to whom a number's messages were handed out, so
// that all workers of the number keep to the pair limit together: 8 bytes each, in one string for
// 6 s. It expires.
func pairsKey(s message.Shard, number string, bucket int64) string {
	return store.Key(s, "pairs:"+number+":"+strconv.FormatInt(bucket, 10))
}

// pairLog keeps a number to the pair limit: in memory, by what this worker handed out and by what
// others wrote into the log. It belongs to the goroutine that fetches.
type pairLog struct {
	limit pacing.Pairs

	begun  bool   // the log of the last minutes was read
	bucket int64  // the one that was read last
	offset int64  // up to where
	made   int64  // the last bucket that this worker made, so that it expires
	unsent []byte // handed out and not in the log yet
}

// sent notes that a message to a recipient was handed out.
func (l *pairLog) sent(r pacing.Recipient, at time.Time) {
	if r == (pacing.Recipient{}) {
		return
	}
	l.limit.Sent(r, at)
	l.unsent = append(l.unsent, r[:]...)
}

// noteExhausted takes in what Meta said of recipients since the last fetch.
func (n *number) noteExhausted() {
	n.mu.Lock()
	full := n.full
	n.full = nil
	n.mu.Unlock()
	for r, until := range full {
		n.pairs.exhausted(r, time.UnixMicro(until))
	}
}

// exhausted notes that a recipient has had a burst, whoever sent it, and gets nothing before a time. Other
// workers read of as many messages to it.
func (l *pairLog) exhausted(r pacing.Recipient, until time.Time) {
	l.limit.Exhausted(r, until)
	for range pacing.PairBurst {
		l.unsent = append(l.unsent, r[:]...)
	}
}

// pairCommands are the commands about the log that go with a fetch.
type pairCommands struct {
	now    time.Time
	bucket int64
	added  *redis.IntCmd // nil: nothing was written
	size   int           // of what was
	first  int64         // bucket that was read
	reads  []*redis.StringCmd
}

// add adds the log's commands to a pipeline: it writes what was handed out, and reads what was
// written since it last did. Now is Redis's clock; zero when it is not known yet.
func (l *pairLog) add(ctx context.Context, p redis.Pipeliner, n *number, now time.Time) (c pairCommands) {
	if now.IsZero() {
		return c
	}
	c.now, c.bucket = now, now.UnixMicro()/pairBucket.Microseconds()
	if c.size = len(l.unsent); c.size > 0 {
		key := pairsKey(n.shard, n.id, c.bucket)
		if l.made != c.bucket {
			p.SetNX(ctx, key, "", pairKept)
		}
		c.added = p.Append(ctx, key, string(l.unsent))
	}
	c.first = c.bucket - pairBuckets
	if l.begun {
		c.first = min(max(c.first, l.bucket), c.bucket)
	}
	for b := c.first; b <= c.bucket; b++ {
		c.reads = append(c.reads, p.GetRange(ctx, pairsKey(n.shard, n.id, b), l.from(b), -1))
	}
	return c
}

// from is where reading a bucket begins.
func (l *pairLog) from(bucket int64) int64 {
	if l.begun && bucket == l.bucket {
		return l.offset
	}
	return 0
}

// done takes in the answers. What was not read is read next time. What a full Redis did not write
// only this worker knows.
func (l *pairLog) done(c pairCommands) {
	own := int64(-1) // where in the bucket this worker wrote
	if c.added != nil {
		switch err := c.added.Err(); {
		case err == nil:
			own = c.added.Val() - int64(c.size)
			l.made = c.bucket
			l.unsent = l.unsent[:0]
		case answered(err):
			l.unsent = l.unsent[:0]
		}
	}
	for i, read := range c.reads {
		if read.Err() != nil {
			return
		}
		bucket, text := c.first+int64(i), read.Val()
		at := time.UnixMicro((bucket + 1) * pairBucket.Microseconds()) // at the latest
		if at.After(c.now) {
			at = c.now
		}
		from := l.from(bucket)
		for ; len(text) >= 8; text = text[8:] {
			if bucket != c.bucket || own < 0 || from < own || from >= own+int64(c.size) {
				l.limit.Sent(pacing.Recipient([]byte(text[:8])), at)
			}
			from += 8
		}
		l.begun, l.bucket, l.offset = true, bucket, from
	}
}
