package portfolio

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Person stands for a person in a portfolio, the same for all its numbers and for all names of the person: a people.ID, which is a
// keyed hash. Plain hashes of phone numbers can be reversed, so none are stored.
type Person [8]byte

// member is how a ledger names the person.
func (p Person) member() string { return string(p[:]) }

// windowOf names the customer service window of a person and a number.
func windowOf(number string, person Person) string {
	sum := sha256.Sum256([]byte(number + "\x00" + person.member()))
	return string(sum[:8])
}

// Entry is what the ledger of a portfolio has about a person.
type Entry struct {
	Portfolio string    `json:"portfolio" doc:"Meta's id of the business portfolio; of the account or the number, where Meta does not say the portfolio."`
	Number    string    `json:"phone_number_id,omitempty" doc:"The number that the person wrote to. Absent: the person counts for the messaging limit of the portfolio."`
	At        time.Time `json:"at" doc:"When a message to the person was last counted, or when the person last wrote."`

	key, member string
}

// Entries returns what all ledgers have about some persons.
func (l *Ledger) Entries(ctx context.Context, persons []Person) ([]Entry, error) {
	of, err := l.db.HGetAll(ctx, numbersKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the portfolios of numbers: %w", err)
	}
	var all []Entry
	for _, number := range slices.Sorted(maps.Keys(of)) {
		for _, p := range persons {
			counted := Entry{Portfolio: of[number], key: peopleKey(of[number]), member: p.member()}
			if !slices.Contains(all, counted) {
				all = append(all, counted)
			}
			all = append(all, Entry{Portfolio: of[number], Number: number, key: windowsKey(of[number]), member: windowOf(number, p)})
		}
	}
	cmds := make([]*redis.FloatCmd, len(all))
	if err = l.db.Pipe(ctx, func(pipe redis.Pipeliner) {
		for i, e := range all {
			cmds[i] = pipe.ZScore(ctx, e.key, e.member)
		}
	}); err != nil && err != redis.Nil {
		return nil, fmt.Errorf("read what ledgers of messaging limits have about a person: %w", err)
	}
	found := all[:0]
	for i, e := range all {
		if cmds[i].Err() == nil {
			e.At = time.UnixMilli(int64(cmds[i].Val())).UTC()
			found = append(found, e)
		}
	}
	return found, nil
}

// Forget deletes what all ledgers have about some persons, and returns how many entries that were. Meta still counts a person who was
// counted, so another entry without a name counts as long.
func (l *Ledger) Forget(ctx context.Context, persons []Person) (int, error) {
	found, err := l.Entries(ctx, persons)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	if err := l.db.Pipe(ctx, func(pipe redis.Pipeliner) {
		for _, e := range found {
			if e.Number == "" { // first: while both are there, too many count, and not too few
				var unnamed Person
				rand.Read(unnamed[:])
				pipe.ZAdd(ctx, e.key, redis.Z{Score: float64(e.At.UnixMilli()), Member: unnamed.member()})
			}
			pipe.ZRem(ctx, e.key, e.member)
		}
	}); err != nil {
		return 0, fmt.Errorf("delete a person from ledgers of messaging limits: %w", err)
	}
	return len(found), nil
}
