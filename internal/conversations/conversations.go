// Package conversations knows which conversations another app owns. Under Meta's Conversation Routing several apps share a number,
// and only the owner of a conversation may send service messages in it.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/conversation-routing/overview
package conversations

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

const (
	// Idle is how long a conversation has its owner after the last message from the person.
	Idle = 24 * time.Hour
	// sharedFor is how long a number counts as shared after Meta last reported another app on it. It is longer than Idle: then no
	// conversation of another app is left.
	sharedFor = Idle + time.Hour
	// noteEvery is how often it is noted again that a number is shared.
	noteEvery = 10 * time.Minute
	// readEvery is how often a process reads which numbers are shared.
	readEvery = 5 * time.Second
	// buckets is how many sorted sets the conversations of a number have. Redis stores small ones compactly.
	buckets = 1 << 12
)

// sharedKey is a sorted set of the numbers on which Meta reported another app, by when, in Unix seconds.
const sharedKey = "sluice:conversations:shared"

// Person names a person, as the pair limit does.
type Person = [8]byte

// ownersKey is a sorted set of people with whom a number has a conversation. The score has the time of the last report and the owner.
func ownersKey(s message.Shard, number string, p Person) string {
	bucket := int(binary.BigEndian.Uint16(p[:])) % buckets
	return store.Key(s, "owners:"+number+":"+strconv.Itoa(bucket))
}

// epoch makes scores small: Redis stores integers of 32 bits compactly.
const epoch = 1735689600 // the year 2025

// scoreOf orders reports: the later one wins, and of the same second a handover, which follows a message. Scores of conversations
// of another app are even.
func scoreOf(r message.OwnerReport) int64 {
	score := (r.At.Unix() - epoch) * 4
	if r.Handover {
		score += 2
	}
	if r.Owner != message.OwnedByOther {
		score++
	}
	return score
}

// endOf returns when another app stops to own a conversation with a score; zero: none owns it.
func endOf(score float64) time.Time {
	if int64(score)%2 != 0 {
		return time.Time{}
	}
	return time.Unix(int64(score)/4+epoch, 0).Add(Idle).UTC()
}

// Owners knows the owners of conversations. It is safe for concurrent use.
type Owners struct {
	db     *store.DB
	shards message.Shards
	people *people.People
	log    *slog.Logger
	shared atomic.Pointer[map[string]time.Time] // the shared numbers, and when Meta last reported another app there
}

// New returns the owners of conversations of an installation. Call Run, so that it knows which numbers are shared.
func New(db *store.DB, shards message.Shards, people *people.People, log *slog.Logger) *Owners {
	o := &Owners{db: db, shards: shards, people: people, log: log}
	o.shared.Store(&map[string]time.Time{})
	return o
}

// Load reads which numbers are shared.
func (o *Owners) Load(ctx context.Context) error {
	since := o.db.Clock(ctx, sharedKey).Add(-sharedFor).Unix()
	all, err := o.db.ZRangeByScoreWithScores(ctx, sharedKey, &redis.ZRangeBy{Min: strconv.FormatInt(since, 10), Max: "+inf"}).Result()
	if err != nil {
		return fmt.Errorf("read which numbers other apps share: %w", err)
	}
	shared := map[string]time.Time{}
	for _, z := range all {
		number, _ := z.Member.(string)
		shared[number] = time.Unix(int64(z.Score), 0)
	}
	o.shared.Store(&shared)
	return nil
}

// Run keeps up to date which numbers are shared, until ctx ends. It returns nil.
func (o *Owners) Run(ctx context.Context) error {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := o.Load(ctx); err != nil && ctx.Err() == nil {
			o.log.Warn("cannot read which numbers other apps share, will retry", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// Shared reports whether another app may own a conversation of a number. It needs no round trip.
func (o *Owners) Shared(number string) bool {
	_, shared := (*o.shared.Load())[number]
	return shared
}

// Note stores what Meta reported about the owners of conversations, in any order and repeated. The messages that wait for a
// conversation that no other app owns any more may be sent then. It needs no round trip for numbers on which Meta reported no other app.
func (o *Owners) Note(ctx context.Context, all []message.OwnerReport) error {
	if err := o.noteShared(ctx, all); err != nil {
		return err
	}
	var reports []message.OwnerReport
	for _, r := range all {
		if o.Shared(r.Number) {
			reports = append(reports, r)
		}
	}
	if len(reports) == 0 {
		return nil
	}
	persons, of, err := o.persons(ctx, reports)
	if err != nil {
		return err
	}
	now := o.db.Clock(ctx, sharedKey)
	release := now.Add(-(ratelimit.PairBurst - 1) * ratelimit.PairEvery) // a burst at once
	old := strconv.FormatInt((now.Add(-Idle).Unix()-epoch)*4, 10)
	err = o.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, person := range persons {
			r := reports[of[i]]
			s := o.shards.Of(r.Number)
			key := ownersKey(s, r.Number, person)
			p.ZAddGT(ctx, key, redis.Z{Score: float64(scoreOf(r)), Member: string(person[:])})
			p.ZRemRangeByScore(ctx, key, "-inf", old)
			p.PExpire(ctx, key, sharedFor)
			if r.Owner != message.OwnedByOther {
				queue.ReleaseConversation(ctx, p, s, r.Number, person, release)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("store the owners of conversations: %w", err)
	}
	return nil
}

// noteShared notes the numbers on which Meta reports another app: in standby, or by a handover.
func (o *Owners) noteShared(ctx context.Context, all []message.OwnerReport) error {
	var now time.Time
	var numbers []redis.Z
	shared := *o.shared.Load()
	for _, r := range all {
		if r.Owner == message.OwnedByUs && !r.Handover {
			continue
		}
		if now.IsZero() {
			now = o.db.Clock(ctx, sharedKey)
		}
		if now.Sub(shared[r.Number]) > noteEvery {
			numbers = append(numbers, redis.Z{Score: float64(now.Unix()), Member: r.Number})
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	err := o.db.Pipe(ctx, func(p redis.Pipeliner) {
		p.ZAddGT(ctx, sharedKey, numbers...)
		p.ZRemRangeByScore(ctx, sharedKey, "-inf", strconv.FormatInt(now.Add(-sharedFor).Unix(), 10))
	})
	if err != nil {
		return fmt.Errorf("store which numbers other apps share: %w", err)
	}
	return o.Load(ctx)
}

// persons returns the persons of reports, and the index of the report of each. Without an index of recipients, the phone number and
// the user id are two.
func (o *Owners) persons(ctx context.Context, reports []message.OwnerReport) (persons []Person, of []int, err error) {
	var names []Recipient
	var from []int
	for i, r := range reports {
		if phone := strings.TrimPrefix(r.Phone, "+"); phone != "" {
			names, from = append(names, Recipient{r.Number, "+" + phone}), append(from, i)
		}
		if r.User != "" {
			names, from = append(names, Recipient{r.Number, r.User}), append(from, i)
		}
	}
	all, err := o.lookup(ctx, names)
	for i, person := range all {
		if i > 0 && from[i] == from[i-1] && person == all[i-1] {
			continue // both names are of one person
		}
		persons, of = append(persons, person), append(of, from[i])
	}
	return persons, of, err
}

// Recipient is the recipient of a message of a number: a phone number with its plus, or a user id.
type Recipient struct{ Number, To string }

// lookup returns the person of each recipient: as the pair limit names it.
func (o *Owners) lookup(ctx context.Context, all []Recipient) ([]Person, error) {
	persons, queries := make([]Person, len(all)), make([]people.Query, len(all))
	for i, r := range all {
		persons[i] = Person([]byte(message.Pair(r.Number, r.To)))
		queries[i] = people.Query{Number: r.Number, Identity: o.people.Identity(r.To)}
	}
	if !o.people.On() { // records have no names of people then
		return persons, nil
	}
	ids, err := o.people.Lookup(ctx, queries)
	for i, id := range ids {
		if id != (people.ID{}) {
			persons[i] = Person(id)
		}
	}
	return persons, err
}

// Conversation is the one of a number with a person.
type Conversation struct {
	Number string
	Person Person
}

// Elsewhere returns until when another app owns conversations; zero: none owns it. An owner keeps it for longer if the person writes
// again. It is one round trip, or none if no other app shares the numbers.
func (o *Owners) Elsewhere(ctx context.Context, all []Conversation) ([]time.Time, error) {
	until, scores := make([]time.Time, len(all)), make([]*redis.FloatCmd, len(all))
	asked := ""
	for _, c := range all {
		if o.Shared(c.Number) {
			asked = ownersKey(o.shards.Of(c.Number), c.Number, c.Person)
		}
	}
	if asked == "" {
		return until, nil
	}
	err := o.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, c := range all {
			if o.Shared(c.Number) {
				scores[i] = p.ZScore(ctx, ownersKey(o.shards.Of(c.Number), c.Number, c.Person), string(c.Person[:]))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the owners of conversations: %w", err)
	}
	now := o.db.Clock(ctx, asked)
	for i, score := range scores {
		if score == nil || score.Err() != nil {
			continue
		}
		if end := endOf(score.Val()); end.After(now) {
			until[i] = end
		}
	}
	return until, nil
}

// ElsewhereTo is Elsewhere for the recipients of messages.
func (o *Owners) ElsewhereTo(ctx context.Context, all []Recipient) ([]time.Time, error) {
	if !slices.ContainsFunc(all, func(r Recipient) bool { return o.Shared(r.Number) }) {
		return make([]time.Time, len(all)), nil
	}
	persons, err := o.lookup(ctx, all)
	if err != nil {
		return nil, err
	}
	asked := make([]Conversation, len(all))
	for i, r := range all {
		asked[i] = Conversation{r.Number, persons[i]}
	}
	return o.Elsewhere(ctx, asked)
}
