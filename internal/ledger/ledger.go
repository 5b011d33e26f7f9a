// Package ledger keeps what happened to each message: one record a message in Redis, changed
// only by scripts that compare before they set, so that any of them may be repeated. It is
// the truth of the system; a task in a queue is only a hint.
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
	"sluice/internal/store"
)

// What several scripts begin with. Each run of a script runs all of its text, so each has only
// what it needs.
//
//go:embed lua/clock.lua
var clockLua string

//go:embed lua/refs.lua
var refsLua string

//go:embed lua/change.lua
var changeLua string

//go:embed lua/begin.lua
var beginLua string

//go:embed lua/move.lua
var moveLua string

//go:embed lua/orphan.lua
var orphanLua string

//go:embed lua/beat.lua
var beatLua string

//go:embed lua/alive.lua
var aliveLua string

// StandingLua defines standing(), which tells a queue's scripts whether a task may be sent
// now, by the records under RecordPrefix.
//
//go:embed lua/standing.lua
var StandingLua string

// RecordPrefix is what the keys of a shard's records begin with; the message's id follows.
func RecordPrefix(s message.Shard) string { return s.Key("m:") }

// Options say how long records live. Zero means the default.
type Options struct {
	Shards        message.Shards // DefaultShards
	DeliveredLife time.Duration  // of a record after delivered, read or played; 24 h
	FinalLife     time.Duration  // of a record after any other end; 7 days
	OpenLife      time.Duration  // of a record Meta took and said nothing final of; 31 days: Meta keeps a message 30 days for a phone that is off
}

// orphanLife is how long a receipt waits for a record with its wamid: longer than any
// worker takes to write down an answer.
const orphanLife = 24 * time.Hour

// Ledger reads and changes records. It is safe for concurrent use.
type Ledger struct {
	db *store.DB
	o  Options

	accept, begin, move, orphan, beat, alive, meet, assert, also store.Script

	runs sync.Map // shard -> the run of its server on which attempts may begin
}

// finishPatience is how long an outcome waits for company, to share a round trip and an fsync:
// nobody waits for it, but a worker that dies meanwhile leaves a doubt.
const finishPatience = 10 * time.Millisecond

// New returns the ledger kept in db.
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
	if o.OpenLife == 0 {
		o.OpenLife = 31 * 24 * time.Hour
	}
	changing := clockLua + refsLua + tables() + changeLua
	return &Ledger{
		db: db, o: o,
		accept: db.Script(clockLua + refsLua + acceptLua),
		begin:  db.Script(changing + beginLua),
		move:   db.Script(changing + moveLua),
		orphan: db.Script(orphanLua),
		beat:   db.Script(clockLua + beatLua),
		alive:  db.Script(clockLua + aliveLua),
		meet:   db.Script(clockLua + meetLua),
		assert: db.Script(changing + assertLua),
		also:   db.Script("for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i]) end"),
	}
}

// keys names what belongs to one message.
type keys struct {
	record, payload                    string
	waiting, attempts, doubts, streams string
}

func (l *Ledger) keys(id string) (keys, error) {
	number, ok := message.Number(id)
	if !ok {
		return keys{}, message.ErrNotFound
	}
	s := l.o.Shards.Of(number)
	return keys{
		record: RecordPrefix(s) + id, payload: s.Key("p:" + id),
		waiting: waitingKey(s), attempts: attemptsKey(s), doubts: doubtsKey(s), streams: s.MessageEventsKey(),
	}, nil
}

// The indexes of a shard: sorted sets of message ids.
func waitingKey(s message.Shard) string   { return s.Key("waiting") }   // queued, by deadline
func attemptsKey(s message.Shard) string  { return s.Key("attempts") }  // attempting, by start
func doubtsKey(s message.Shard) string    { return s.Key("doubts") }    // in doubt, by the end of the window
func submittedKey(s message.Shard) string { return s.Key("submitted") } // submitted and nothing more, by when

// lifeOf returns how long a record lives on in a state; 0 means until it ends.
func (l *Ledger) lifeOf(s message.State) time.Duration {
	switch s {
	case message.Queued, message.Attempting, message.InDoubt, message.Parked:
		return 0
	case message.Submitted, message.Sent:
		return l.o.OpenLife
	case message.Delivered, message.Read, message.Played:
		return l.o.DeliveredLife
	}
	return l.o.FinalLife
}

// Get returns a message's record, or message.ErrNotFound.
func (l *Ledger) Get(ctx context.Context, id string) (message.Record, error) {
	k, err := l.keys(id)
	if err != nil {
		return message.Record{}, err
	}
	h, err := l.db.HGetAll(ctx, k.record).Result()
	if err != nil {
		return message.Record{}, fmt.Errorf("read record %s: %w", id, err)
	}
	if len(h) == 0 {
		return message.Record{}, message.ErrNotFound
	}
	return record(id, h)
}

// Backlog is how many messages are open, and how many are dead.
type Backlog struct{ Waiting, Attempting, InDoubt, Parked, Dead int64 }

// Backlog counts those of all shards together.
func (l *Ledger) Backlog(ctx context.Context) (Backlog, error) {
	var cards [5][]*redis.IntCmd
	alive := fmt.Sprint(time.Now().Add(-l.lifeOf(message.Dead)).UnixMilli())
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		cards = [5][]*redis.IntCmd{}
		for _, s := range l.o.Shards.All() {
			for i, key := range []string{waitingKey(s), attemptsKey(s), doubtsKey(s), parkedKey(s)} {
				cards[i] = append(cards[i], p.ZCard(ctx, key))
			}
			cards[4] = append(cards[4], p.ZCount(ctx, deadKey(s), alive, "+inf"))
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
	return Backlog{sum(cards[0]), sum(cards[1]), sum(cards[2]), sum(cards[3]), sum(cards[4])}, nil
}

// ErrShards means that the store was made with another number of shards.
var ErrShards = errors.New("the store holds another number of shards")

// CheckShards stores the number of shards at the first start of all, and refuses another
// number ever after: every key's place depends on it.
func (l *Ledger) CheckShards(ctx context.Context) error {
	const key = "sluice:shards"
	n, err := l.db.Get(ctx, key).Int()
	if errors.Is(err, redis.Nil) {
		if err = l.db.SetNX(ctx, key, int(l.o.Shards), 0).Err(); err == nil {
			n, err = l.db.Get(ctx, key).Int()
		}
	}
	if err != nil {
		return fmt.Errorf("check shards: %w", err)
	}
	if n != int(l.o.Shards) {
		return fmt.Errorf("%w: it has %d, the configuration says shards: %d; set shards back, or start on an empty Redis", ErrShards, n, l.o.Shards)
	}
	return nil
}

// text and number read what a script or a hash holds.
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
