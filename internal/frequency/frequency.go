// Package frequency keeps the number of messages that a person gets from a client within caps, over all numbers of the client. It counts
// keyed hashes of people, and only messages of clients that have caps.
package frequency

import (
	"context"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/store"
)

//go:embed admit.lua
var admitLua string

// Caps are the caps of all clients. They are safe for concurrent use.
type Caps struct {
	db     *store.DB
	people *people.People
	of     func(client string) []config.FrequencyCap
	admit  store.Script
}

// New returns the caps of an installation. of returns those of a client.
func New(db *store.DB, p *people.People, of func(client string) []config.FrequencyCap) *Caps {
	return &Caps{db: db, people: p, of: of, admit: db.Script(admitLua)}
}

// Message is what caps depend on.
type Message struct {
	ID, Client, Number string
	Class              message.Class
	Recipient          string // a phone number with or without its plus, or a user id
}

// Concern reports whether messages of a class of a client are counted.
func (c *Caps) Concern(client string, class message.Class) bool {
	return slices.ContainsFunc(c.of(client), func(one config.FrequencyCap) bool { return slices.Contains(classesOf(one), string(class)) })
}

// Admit counts messages, and returns for each whether it is within the caps. A message that was counted before is admitted, and not counted
// again. One whose recipient has no identity, because there is no secrets key, is admitted. It is one round trip, and another one if names of
// people must be looked up.
func (c *Caps) Admit(ctx context.Context, all []Message) ([]bool, error) {
	may := make([]bool, len(all))
	if len(all) == 0 {
		return may, nil
	}
	ask := make([]people.Query, len(all))
	for i, m := range all {
		ask[i] = people.Query{Number: m.Number, Identity: c.people.Identity(m.Recipient)}
	}
	persons, err := c.people.Lookup(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("count messages to people: %w", err)
	}
	replies := make([]*redis.Cmd, len(all))
	err = c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, m := range all {
			args := c.args(m)
			if may[i] = persons[i] == (people.ID{}) || len(args) == 2; !may[i] {
				replies[i] = c.admit.Add(ctx, p, []string{key(m.Client, persons[i])}, args...)
			}
		}
	})
	for i, reply := range replies {
		if err == nil && reply != nil {
			var is int
			is, err = reply.Int()
			may[i] = is == 1
		}
	}
	if err != nil {
		return nil, fmt.Errorf("count messages to people: %w", err)
	}
	return may, nil
}

// args are the arguments of the script for a message.
func (c *Caps) args(m Message) []any {
	args, longest := []any{string(m.Class[:1]) + m.ID, int64(0)}, time.Duration(0)
	for _, one := range c.of(m.Client) {
		within, _ := time.ParseDuration(one.Within)
		longest = max(longest, within)
		classes := classesOf(one)
		if !slices.Contains(classes, string(m.Class)) {
			continue
		}
		letters := ""
		for _, class := range classes {
			letters += class[:1]
		}
		args = append(args, one.Messages, within.Milliseconds(), letters)
	}
	args[1] = longest.Milliseconds()
	return args
}

// classesOf returns the classes of a cap. Their first letters differ.
func classesOf(one config.FrequencyCap) []string {
	if len(one.Classes) == 0 {
		return config.MarketingOnly
	}
	return one.Classes
}

// key is the messages of a client to a person: a sorted set by when they were counted. It is in no shard: a client sends from numbers of
// several.
func key(client string, person people.ID) string {
	return "sluice:sent:{" + client + ":" + hex.EncodeToString(person[:]) + "}"
}
