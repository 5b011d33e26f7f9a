package ratelimit

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	// pairBucket is the time of one string of the log of recipients, pairBuckets how many of them still limit
	// anything, pairKept how long Redis keeps each.
	pairBucket  = PairEvery
	pairBuckets = int64(PairWindow / pairBucket)
	pairKept    = PairWindow + 30*time.Second
)

// pairsKey is a part of the log of the recipients that a number's messages were sent to, so
// that all workers of the number keep to the pair limit together: 8 bytes each, in one string for
// 6 s. It expires.
func pairsKey(s message.Shard, number string, bucket int64) string {
	return store.Key(s, "pairs:"+number+":"+strconv.FormatInt(bucket, 10))
}

// PairLog keeps a number to the pair limit: in memory, by what this worker sent and by what other workers wrote
// into the log in Redis. It is not safe for concurrent use.
type PairLog struct {
	shard  message.Shard
	number string
	limit  Pairs

	begun  bool   // the log of the last minutes was read
	bucket int64  // the one that was read last
	offset int64  // up to where
	made   int64  // the last bucket that this worker made, so that it expires
	unsent []byte // sent to and not in the log yet
}

// NewPairLog returns the log of a number.
func NewPairLog(s message.Shard, number string) *PairLog { return &PairLog{shard: s, number: number} }

// Begun reports whether what all workers sent in the last minutes is known.
func (l *PairLog) Begun() bool { return l.begun }

// Unwritten reports whether there is something that the log in Redis does not have yet.
func (l *PairLog) Unwritten() bool { return len(l.unsent) > 0 }

// Free returns the zero time when a message may be sent to a recipient now, else when it may.
func (l *PairLog) Free(r Recipient, now time.Time) time.Time { return l.limit.Free(r, now) }

// Sent notes that a message to a recipient was dispatched.
func (l *PairLog) Sent(r Recipient, at time.Time) {
	if r == (Recipient{}) {
		return
	}
	l.limit.Sent(r, at)
	l.unsent = append(l.unsent, r[:]...)
}

// Exhausted notes that Meta refused a message for the pair limit: the recipient got a burst, from whatever
// program, and gets nothing before a time. Other workers read of as many messages to it.
func (l *PairLog) Exhausted(r Recipient, until time.Time) {
	l.limit.Exhausted(r, until)
	for range PairBurst {
		l.unsent = append(l.unsent, r[:]...)
	}
}

// PairCommands are the commands about the log that are sent with a fetch.
type PairCommands struct {
	now    time.Time
	bucket int64
	added  *redis.IntCmd // nil: nothing was written
	size   int           // of what was
	first  int64         // bucket that was read
	reads  []*redis.StringCmd
}

// Add adds the log's commands to a pipeline: it writes what was sent, and reads what was
// written since it last did. now is Redis's clock; zero when it is not known yet.
func (l *PairLog) Add(ctx context.Context, p redis.Pipeliner, now time.Time) (c PairCommands) {
	if now.IsZero() {
		return c
	}
	c.now, c.bucket = now, now.UnixMicro()/pairBucket.Microseconds()
	if c.size = len(l.unsent); c.size > 0 {
		key := pairsKey(l.shard, l.number, c.bucket)
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
		c.reads = append(c.reads, p.GetRange(ctx, pairsKey(l.shard, l.number, b), l.from(b), -1))
	}
	return c
}

// from is where reading a bucket begins.
func (l *PairLog) from(bucket int64) int64 {
	if l.begun && bucket == l.bucket {
		return l.offset
	}
	return 0
}

// Done takes in the answers. What was not read is read next time. What a full Redis did not write
// only this worker knows.
func (l *PairLog) Done(c PairCommands) {
	own := int64(-1) // where in the bucket this worker wrote
	if c.added != nil {
		switch err := c.added.Err(); {
		case err == nil:
			own = c.added.Val() - int64(c.size)
			l.made = c.bucket
			l.unsent = l.unsent[:0]
		case store.Refused(err):
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
				l.limit.Sent(Recipient([]byte(text[:8])), at)
			}
			from += 8
		}
		l.begun, l.bucket, l.offset = true, bucket, from
	}
}
