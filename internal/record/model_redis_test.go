package record_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	db "sluice/internal/store"

	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/redistest"
)

// real is a store: a ledger on a Redis of its own.
type real struct {
	db     *db.DB
	book   *ledger.Ledger
	shard  message.Shard
	rng    *rand.Rand
	broken func(format string, args ...any)

	now      time.Time                // what the ledger's clock says
	events   map[string][]said        // of the stream, up to its entry last
	last     string                   // entry of the stream
	early    map[string]record.Record // a queued record as it was read some time ago
	expiring map[string]string        // token of the worker that found the deadline of a message passed
}

// openReal connects to a Redis, which may hold nothing else.
func openReal(t testing.TB, url string) *real {
	t.Helper()
	d, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	r := &real{db: d, book: ledger.New(d, ledger.Options{Resendable: func(code int) bool { return code == 131042 }, Replaces: func(_ message.Context, code int) bool { return code == 131047 }}), shard: message.DefaultShards.Of(number)}
	d.UseClock(func() time.Time { return r.now })
	run, err := r.book.CurrentEpoch(t.Context(), r.shard)
	if err == nil {
		err = r.book.BeginEpoch(t.Context(), r.shard, run.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// begin makes it the empty second store of a run.
func (r *real) begin(w *world) store {
	r.rng, r.broken = rand.New(rand.NewPCG(*seed, w.rng.Uint64())), w.broken
	r.events, r.last, r.early, r.expiring = map[string][]said{}, "-", map[string]record.Record{}, map[string]string{}
	r.must(r.db.FlushDB(context.Background()).Err())
	return r
}

func (r *real) must(err error) {
	if err != nil && !errors.Is(err, redis.Nil) {
		r.broken("the ledger fails: %v", err)
	}
}

func (r *real) key(name string) string { return db.Key(r.shard, name) }

func (r *real) Read(id string) seen {
	got, err := r.book.Read(context.Background(), id)
	if !errors.Is(err, message.ErrNotFound) {
		r.must(err)
	}
	if got.Recipient != "" {
		got.Recipient = "recipient" // the ledger stores a hash
	}
	return seen{id: id, record: got}
}

func (r *real) Accept(s seen, m message.Message, at time.Time) (record.Record, bool) {
	r.now = at
	a := ledger.Accepting{Message: m, Enqueue: func(*db.Writes, time.Time) error { return nil }}
	out := r.book.Accept(context.Background(), []ledger.Accepting{a})[0]
	if out.Err == message.ErrKeyReused {
		return r.Read(s.id).record, false
	}
	r.must(out.Err)
	return r.Read(s.id).record, !out.Duplicate
}

func (r *real) Begin(s seen, task int, token string, at time.Time) (record.Record, record.Begin) {
	r.now = at
	if got, b := s.record.Begin(task, token, at); b.Expired != "" {
		r.expiring[s.id] = token // the ledger writes it down at once, the model in its next call
		return got, b
	}
	var known *record.Record
	switch old, is := r.early[s.id]; r.rng.IntN(3) {
	case 0:
		known = &s.record
		if !s.record.Exists() {
			known = nil
		}
	case 1:
		if _, b := old.Begin(task, token, at); is && old.State == message.Queued && b.Verdict == message.Go {
			known = &old
		}
	}
	a, err := r.book.Begin(context.Background(), s.id, task, token, known)
	r.must(err)
	got := r.Read(s.id).record
	if a.Verdict == message.Go && (a.N != got.Attempt || a.Token != token || a.Accepted != got.Incarnation() || string(a.Payload) != got.Payload ||
		a.Failures != got.Failures || !a.ExpiresAt.Equal(got.ExpiresAt) || a.Age != at.Sub(got.Since()) || a.Left != got.ExpiresAt.Sub(at)) {
		r.broken("%s: began %+v\n and the record is %+v", s.id, a, got)
	}
	return got, record.Begin{Verdict: a.Verdict, Expired: a.Expired, Wait: a.Wait}
}

func (r *real) Decide(s seen, in record.Input) (record.Record, record.Decision) {
	r.now = in.At
	ctx := context.Background()
	var d record.Decision
	var err error
	switch in.Kind {
	case record.Outcome:
		a := message.Attempt{ID: s.id, N: in.Attempt, Token: in.Token, Accepted: in.Incarnation}
		var state message.State
		state, d.Duplicate, err = r.book.Finish(ctx, a, in.Move)
		if is := r.Read(s.id).record.State; state != is {
			r.broken("%s: the outcome made it %q, and it is %q", s.id, state, is)
		}
	case record.Seen:
		o := message.Open{ID: s.id, State: in.From, N: in.Attempt, K: in.Task, Accepted: in.Incarnation}
		token, found := r.expiring[s.id]
		if _, b := s.record.Begin(in.Task, token, in.At); found && in.Move.To == message.Expired && in.Move.Reason == b.Expired {
			var a message.Attempt
			a, err = r.book.Begin(ctx, s.id, in.Task, token, nil)
			d.Applied = a.Expired == in.Move.Reason
		} else {
			d.Applied, err = r.book.Sweep(ctx, o, in.Move)
		}
		delete(r.expiring, s.id)
	case record.Status:
		status := string(in.Move.To)
		if in.Move.To == message.Dead {
			status = "failed"
		}
		e := message.MarkedReport{StatusReport: message.StatusReport{Number: number, WAMID: in.Move.WAMID, Status: status, Code: in.Move.Code}}
		if in.Incarnation != 0 {
			e.ID, e.Attempt, e.Accepted = s.id, in.Attempt, in.Incarnation
		}
		var results []message.ApplyResult
		if results, err = r.book.Apply(ctx, r.shard, []message.MarkedReport{e}, nil); err == nil {
			d.Applied, d.Repeated, d.Duplicate = results[0] == message.Applied, results[0] == message.Repeated, results[0] == message.Duplicate
		}
	}
	r.must(err)
	return r.Read(s.id).record, d
}

func (r *real) Restore(s seen, m message.RememberedAttempt, at time.Time) (record.Record, record.Loss, record.Decision) {
	r.now = at
	lost, err := r.book.Replay(context.Background(), r.shard, []message.RememberedAttempt{m})
	r.must(err)
	loss := record.NothingLost
	switch lost {
	case message.LostWrites{Outcomes: 1}:
		loss = record.OutcomeLost
	case message.LostWrites{Intents: 1}:
		loss = record.IntentLost
	case message.LostWrites{Records: 1}:
		loss = record.RecordLost
	}
	return r.Read(s.id).record, loss, record.Decision{}
}

// Remove deletes what Purge would delete, before its time.
func (r *real) Remove(id string) {
	r.expire(id, func(ctx context.Context, p redis.Pipeliner, _ record.Record) {
		p.Del(ctx, ledger.RecordPrefix(r.shard)+id)
	})
	r.Events(id)
	delete(r.events, id)
	delete(r.early, id)
}

// LeaveTombstone does the same for a message with a key.
func (r *real) LeaveTombstone(id string, until time.Time) {
	r.expire(id, func(ctx context.Context, p redis.Pipeliner, got record.Record) {
		t := got.ToTombstone(until)
		p.Set(ctx, ledger.RecordPrefix(r.shard)+id, t.Encode(), 0)
	})
	delete(r.early, id)
}

func (r *real) expire(id string, record func(context.Context, redis.Pipeliner, record.Record)) {
	got := r.Read(id).record
	_, err := r.db.Pipelined(context.Background(), func(p redis.Pipeliner) error {
		ctx := context.Background()
		record(ctx, p, got)
		if at := got.ListEntry(); at.List != message.NoList {
			p.ZRem(ctx, r.key(string(at.List)), at.Member)
		}
		for _, wamid := range got.IndexedWAMIDs() {
			p.HDel(ctx, r.key("wamids:"+got.AcceptedAt.Format(time.DateOnly)), nameOf(wamid))
		}
		return nil
	})
	r.must(err)
}

func (r *real) Lists() map[message.List]map[string]int64 {
	ctx := context.Background()
	cmds := map[message.List]*redis.ZSliceCmd{}
	_, err := r.db.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, l := range []message.List{message.ListWaiting, message.ListInDoubt, message.ListParked, message.ListDead, message.ListAwaiting} {
			cmds[l] = p.ZRangeWithScores(ctx, r.key(string(l)), 0, -1)
		}
		return nil
	})
	r.must(err)
	all := map[message.List]map[string]int64{}
	for l, c := range cmds {
		all[l] = map[string]int64{}
		for _, z := range c.Val() {
			all[l][z.Member.(string)] = int64(z.Score)
		}
	}
	return all
}

func (r *real) Events(id string) []said {
	entries, err := r.db.XRange(context.Background(), events.MessageKey(r.shard), r.last, "+").Result()
	r.must(err)
	for _, e := range entries {
		r.last = "(" + e.ID
		text, _ := e.Values[events.Field].(string)
		for line := range strings.SplitSeq(text, "\n") {
			var ev message.Event
			r.must(json.Unmarshal([]byte(line), &ev))
			event := said{At: ev.At}
			if ev.Type == message.EventFinal {
				event.Final = *ev.Final
			} else {
				event.Change = *ev.State
			}
			r.events[ev.Message.ID] = append(r.events[ev.Message.ID], event)
		}
	}
	if got := r.Read(id).record; got.State == message.Queued && r.rng.IntN(4) == 0 {
		r.early[id] = got
	}
	return r.events[id]
}

// nameOf names one of Meta's ids as the ledger does.
func nameOf(wamid string) string {
	sum := sha256.Sum256([]byte(wamid))
	return hex.EncodeToString(sum[:8])
}

func (r *real) Names(wamid string) string {
	ctx := context.Background()
	days, err := r.db.Keys(ctx, strings.NewReplacer("{", `\{`, "}", `\}`).Replace(r.key("wamids:*"))).Result()
	r.must(err)
	for _, day := range days {
		id, err := r.db.HGet(ctx, day, nameOf(wamid)).Result()
		r.must(err)
		if id != "" {
			return id
		}
	}
	return ""
}

func (r *real) Snapshot() func() {
	ctx := context.Background()
	keys, err := r.db.Keys(ctx, "*").Result()
	r.must(err)
	dumps := map[string]string{}
	for _, k := range keys {
		dumps[k], err = r.db.Dump(ctx, k).Result()
		r.must(err)
	}
	r.Events("")
	events, last, early := maps.Clone(r.events), r.last, maps.Clone(r.early)
	return func() {
		r.must(r.db.FlushDB(ctx).Err())
		for k, v := range dumps {
			r.must(r.db.Restore(ctx, k, 0, v).Err())
		}
		r.events, r.last, r.early = maps.Clone(events), last, maps.Clone(early)
	}
}

// TestRedis runs the ledger on a real Redis together with memory, and compares records, lists, events and indexes
// after each call. Every second run has transactions by scripts.
func TestRedis(t *testing.T) {
	t.Parallel()
	n, from := *lives, 0
	if *only >= 0 {
		from, n = *only, *only+1
	}
	switch {
	case n > 0:
	case testing.Short() || raceDetector:
		n = 8
	default:
		n = 200
	}
	const worlds = 8 // each in a database of its own
	srv := redistest.Start(t, "--appendfsync", "no")
	var next atomic.Int64
	var counts tally
	var wg sync.WaitGroup
	next.Store(int64(from))
	began := time.Now()
	for i := range worlds {
		url := fmt.Sprint(srv.URL(), "/", i)
		if i%2 == 1 {
			url += "?transactions=script"
		}
		r := openReal(t, url)
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				if err := live(world{rules: theRules(), twin: true, other: r.begin, print: *only >= 0}, i, &counts); err != nil {
					t.Errorf("seed %d, %s: %v", *seed, url, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("seed %d: %d lives in %s\n%s", *seed, n, time.Since(began).Round(time.Millisecond), counts.String())
}
