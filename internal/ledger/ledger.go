// Package ledger stores the records of messages: one packed record for each message, in Redis. Package record
// decides in Go how a change alters a record; Redis only compares and stores. The record is the source of truth. A
// task in a queue is only a hint.
package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

//go:embed lua/clock.lua
var clockLua string

//go:embed lua/heartbeat.lua
var heartbeatLua string

//go:embed lua/alive.lua
var aliveLua string

// RecordPrefix returns the prefix of the keys of a shard's records; the message's id follows it.
func RecordPrefix(s message.Shard) string { return store.Key(s, "m:") }

// Options say how long records are kept. Zero means the default.
type Options struct {
	Shards        message.Shards // DefaultShards
	DeliveredLife time.Duration  // of a record after delivered, read or played; 24 h
	FinalLife     time.Duration  // of a record in another final state; 7 days
	OpenLife      time.Duration  // of a record that Meta took and reported no final status of; 31 days: Meta keeps a message 30 days for a phone that is off
	KeyLife       time.Duration  // of the key of a message after the end of its record; 30 days; negative: the key ends with the record

	UnmatchedLife time.Duration // how long a status waits for a message that is not known yet; 15 minutes
	UnmatchedMost int           // how many such statuses wait in a shard at most; 10,000

	// Ended adds to a transaction what follows when a message leaves the state queued, or gets another task, without
	// an attempt. It gets the message as it was before. Nil: nothing follows.
	Ended func(w *store.Writes, s message.Shard, o message.Open)

	// Due adds to a transaction the task of a message whose wait for another message has ended, or that gets its fallback template
	// after Meta reported a failure. It gets the message as it is afterwards. Nil: nothing is added.
	Due func(w *store.Writes, o message.Open) error

	// RecipientHash returns a keyed hash of a recipient, of at least 8 bytes, by which messages are found. Nil: there is no
	// index of recipients.
	RecipientHash func(recipient string) string

	// Resendable reports whether a failure with a code means that a number or a template must be corrected first:
	// then the message becomes a dead letter and can be sent again. Nil: no code does.
	Resendable func(code int) bool

	// Replaces reports whether the fallback template of a message is sent in its place, if it has one and it is safe, when Meta reports a
	// failure with a code. Nil: the message fails.
	Replaces func(m message.Context, code int) bool
}

// Ledger reads and changes records. It is safe for concurrent use.
type Ledger struct {
	db *store.DB
	o  Options

	tx, accepts      *store.Transactions
	heartbeat, alive store.Script
	lists            store.Script

	epochs sync.Map // shard -> begunEpoch: the epoch of its server in which attempts may begin
}

// New returns a ledger that stores its records in db.
func New(db *store.DB, o Options) *Ledger {
	if o.Shards == 0 {
		o.Shards = message.DefaultShards
	}
	if o.DeliveredLife == 0 {
		o.DeliveredLife = 24 * time.Hour
	}
	if o.FinalLife == 0 {
		o.FinalLife = 7 * 24 * time.Hour
	}
	if o.Resendable == nil {
		o.Resendable = func(int) bool { return false }
	}
	if o.Replaces == nil {
		o.Replaces = func(message.Context, int) bool { return false }
	}
	if o.OpenLife == 0 {
		o.OpenLife = 31 * 24 * time.Hour
	}
	if o.KeyLife == 0 {
		o.KeyLife = 30 * 24 * time.Hour
	}
	if o.UnmatchedLife == 0 {
		o.UnmatchedLife = 15 * time.Minute
	}
	if o.UnmatchedMost == 0 {
		o.UnmatchedMost = 10_000
	}
	return &Ledger{
		db: db, o: o, tx: db.Transactions(false), accepts: db.Transactions(true),
		heartbeat: db.Script(clockLua + heartbeatLua), alive: db.Script(clockLua + aliveLua),
		lists: db.Script(listsLua),
	}
}

// Transactions returns the ledger's transactions that run on a full Redis too, for other packages to share.
func (l *Ledger) Transactions() *store.Transactions { return l.tx }

// lifeOf returns how long a record is kept in a state; 0: until it changes.
func (l *Ledger) lifeOf(s message.State) time.Duration {
	switch {
	case s.Sendable():
		return 0
	case !s.Final():
		return l.o.OpenLife
	case s == message.Delivered || s == message.Read || s == message.Played:
		return l.o.DeliveredLife
	}
	return l.o.FinalLife
}

// listKey is one of a shard's lists of messages: a sorted set, see record.ListEntry.
func listKey(s message.Shard, l message.List) string { return store.Key(s, string(l)) }

// shardOf returns the shard of a message and the key of its record. It returns message.ErrNotFound for a string
// that is not a message id.
func (l *Ledger) shardOf(id string) (message.Shard, string, error) {
	number, ok := message.Number(id)
	if !ok {
		return 0, "", message.ErrNotFound
	}
	s := l.o.Shards.Of(number)
	return s, RecordPrefix(s) + id, nil
}

// Clock returns the time by the clock of the server that has a message's record.
func (l *Ledger) Clock(ctx context.Context, id string) time.Time {
	s, _, _ := l.shardOf(id)
	return l.db.Clock(ctx, RecordPrefix(s))
}

// Get returns a message's record, or message.ErrNotFound.
func (l *Ledger) Get(ctx context.Context, id string) (message.Record, error) {
	r, err := l.Read(ctx, id)
	return r.Record, err
}

// Read returns everything stored about a message, or message.ErrNotFound.
func (l *Ledger) Read(ctx context.Context, id string) (record.Record, error) {
	_, key, err := l.shardOf(id)
	if err != nil {
		return record.Record{}, err
	}
	text, err := l.db.Get(ctx, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return record.Record{}, fmt.Errorf("read record %s: %w", id, err)
	}
	r, err := record.Decode(id, text)
	if err == nil && !r.Exists() {
		err = message.ErrNotFound
	}
	return r, err
}

// lists has all lists of a shard.
var lists = []message.List{message.ListWaiting, message.ListInDoubt, message.ListParked, message.ListDead, message.ListAwaiting, message.ListMoving}

// inspectTries is how often Inspect reads a record that changes again and again.
const inspectTries = 10

// Inspect returns everything stored about a message and its list entries, as they were at the same moment, or
// message.ErrNotFound. It does not search the dead-letter list for a message that is no longer a dead letter.
func (l *Ledger) Inspect(ctx context.Context, id string) (record.Record, []record.ListEntry, error) {
	s, key, err := l.shardOf(id)
	if err != nil {
		return record.Record{}, nil, err
	}
	for range inspectTries {
		r, err := l.Read(ctx, id)
		if err != nil {
			return record.Record{}, nil, err
		}
		scores := make([]*redis.FloatCmd, len(lists))
		var length *redis.IntCmd
		err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
			for i, list := range lists {
				scores[i] = p.ZScore(ctx, listKey(s, list), memberOf(&r, list))
			}
			length = p.StrLen(ctx, key)
		})
		if err != nil {
			return record.Record{}, nil, fmt.Errorf("read the lists of %s: %w", id, err)
		}
		if int(length.Val()) != r.Version() {
			continue // it has changed since
		}
		var found []record.ListEntry
		for i, c := range scores {
			if c.Err() == nil {
				found = append(found, record.ListEntry{List: lists[i], Score: int64(c.Val()), Member: memberOf(&r, lists[i])})
			}
		}
		return r, found, nil
	}
	return record.Record{}, nil, fmt.Errorf("record %s changes again and again. Retry", id)
}

// memberOf returns the member of a message in a list.
func memberOf(r *record.Record, list message.List) string {
	if p := r.ListEntry(); p.List == list {
		return p.Member
	}
	return r.ID
}

// ReadAll returns the records of messages of one shard, in the order of their ids. For an id without a record,
// the returned record does not exist.
func (l *Ledger) ReadAll(ctx context.Context, s message.Shard, ids []string) ([]record.Record, error) {
	all, unreadable, err := l.ReadReadable(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := unreadable[id]; err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ReadReadable is ReadAll without the records that cannot be read: it returns them as records that do not exist,
// and the error of each by its message's id.
func (l *Ledger) ReadReadable(ctx context.Context, s message.Shard, ids []string) ([]record.Record, map[string]error, error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = RecordPrefix(s) + id
	}
	values, err := l.db.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read records: %w", err)
	}
	var unreadable map[string]error
	all := make([]record.Record, len(ids))
	for i, v := range values {
		if all[i], err = record.Decode(ids[i], text(v)); err != nil {
			if unreadable == nil {
				unreadable = map[string]error{}
			}
			unreadable[ids[i]] = err
		}
	}
	return all, unreadable, nil
}

// Progress is ReadAnywhere for those who need the public part of the records.
func (l *Ledger) Progress(ctx context.Context, ids []string) ([]message.Record, error) {
	all, err := l.ReadAnywhere(ctx, ids)
	if err != nil {
		return nil, err
	}
	records := make([]message.Record, len(all))
	for i := range all {
		records[i] = all[i].Record
	}
	return records, nil
}

// ReadAnywhere returns the records of messages of all shards, in at most two round trips, and the zero value for an id without one.
func (l *Ledger) ReadAnywhere(ctx context.Context, ids []string) ([]record.Record, error) {
	cmds := make([]*redis.StringCmd, len(ids))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			if _, key, err := l.shardOf(id); err == nil {
				cmds[i] = p.Get(ctx, key)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	records := make([]record.Record, len(ids))
	for i, c := range cmds {
		if c == nil {
			continue
		}
		if records[i], err = record.Decode(ids[i], c.Val()); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// Backlog is the number of open messages and of dead letters.
type Backlog struct {
	Waiting int64 // they wait for an attempt or for its outcome
	InDoubt int64
	Parked  int64
	Dead    int64
}

// Backlog counts the messages of all shards.
func (l *Ledger) Backlog(ctx context.Context) (Backlog, error) {
	lists := []message.List{message.ListWaiting, message.ListInDoubt, message.ListParked, message.ListDead}
	cards := make([][]*redis.IntCmd, len(lists))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		clear(cards)
		for _, s := range l.o.Shards.All() {
			for i, list := range lists {
				cards[i] = append(cards[i], p.ZCard(ctx, listKey(s, list)))
			}
		}
	})
	if err != nil {
		return Backlog{}, fmt.Errorf("count open messages: %w", err)
	}
	sum := func(cmds []*redis.IntCmd) (n int64) {
		for _, c := range cmds {
			n += c.Val()
		}
		return n
	}
	return Backlog{sum(cards[0]), sum(cards[1]), sum(cards[2]), sum(cards[3])}, nil
}

var (
	// ErrShards means that the store has another number of shards.
	ErrShards = errors.New("the store has another number of shards")
	// ErrOldFormat means that the store has records of an older version.
	ErrOldFormat = errors.New("the store has records of an older version of Sluice: stop all programs, run `sluice migrate`, and start again")
)

const (
	// layoutKey describes the layout of the store: "<shards>/<format of the records>". Before format 2 it was the
	// number of shards alone, and programs of those versions refuse to start on any other text.
	layoutKey = "sluice:shards"
)

func layout(shards message.Shards) string {
	return strconv.Itoa(int(shards)) + "/" + strconv.Itoa(record.Format)
}

// CheckShards stores the layout at the very first start, and refuses another one from then on, because the place
// of every key depends on it.
func (l *Ledger) CheckShards(ctx context.Context) error {
	found, err := l.db.Get(ctx, layoutKey).Result()
	if errors.Is(err, redis.Nil) {
		if err = l.db.SetNX(ctx, layoutKey, layout(l.o.Shards), 0).Err(); err == nil {
			found, err = l.db.Get(ctx, layoutKey).Result()
		}
	}
	if err != nil {
		return fmt.Errorf("check shards: %w", err)
	}
	if found == layout(l.o.Shards) {
		return nil
	}
	var shards, format int
	if n, _ := fmt.Sscanf(found, "%d/%d", &shards, &format); n == 1 {
		return ErrOldFormat
	}
	if format != record.Format {
		return fmt.Errorf("%w: it has format %d, and this program reads format %d. Use the program that wrote it, or a newer one", record.ErrFormat, format, record.Format)
	}
	return fmt.Errorf("%w: it has %d, and the configuration says shards: %d. Set shards back, or start on an empty Redis", ErrShards, shards, l.o.Shards)
}

// text and number read the values of a script's reply or a hash.
func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
