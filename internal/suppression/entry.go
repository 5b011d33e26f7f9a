package suppression

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// sealed is the purpose of the encryption of recipients.
const sealed = "suppression"

// entry is an entry as put.lua stores it.
type entry struct {
	out  bool // the person opted out; else in again
	at   time.Time
	name string // the first of its names
	what details
}

// details are the JSON of an entry.
type details struct {
	Source    message.SuppressionSource `json:"s"`
	Reason    string                    `json:"r,omitempty"`
	By        string                    `json:"b,omitempty"`
	Number    string                    `json:"n,omitempty"`
	Masked    string                    `json:"m"`
	Recipient string                    `json:"e,omitempty"` // encrypted; empty: it was deleted
}

const headLen = 1 + 13 + 1 // of the text of an entry

// entryOf reads the text of an entry; zero: it cannot be read.
func entryOf(text string) (e entry) {
	if len(text) < headLen {
		return e
	}
	ms, err := strconv.ParseInt(text[1:14], 10, 64)
	rest := headLen + 8*int(text[14])
	if err != nil || rest == headLen || len(text) < rest || json.Unmarshal([]byte(text[rest:]), &e.what) != nil {
		return entry{}
	}
	e.out, e.at, e.name = text[0] == 'o', time.UnixMilli(ms).UTC(), text[headLen:headLen+8]
	return e
}

// shown returns an entry of the list of a client with the masked recipient.
func (s *Store) shown(client string, e entry) message.Suppression {
	d := e.what
	return message.Suppression{Client: client, Recipient: d.Masked, Source: d.Source, Reason: d.Reason, By: d.By, Number: d.Number, At: e.at, Ended: !e.out}
}

// change is a change of a list.
type change struct {
	client    string
	out       bool
	join      bool      // it changes only the names of an entry, and with a recipient its details, if the entry is of this time
	at        time.Time // zero: now
	names     []string
	recipient string
	details
}

// text returns the details as the JSON of an entry; empty: the details of the entry stay as they are.
func (s *Store) text(c change) (string, error) {
	if c.join && c.recipient == "" {
		return "", nil
	}
	var err error
	c.Masked = message.Mask(c.recipient)
	if c.Recipient, err = s.o.Box.Encrypt(sealed, c.recipient); err != nil {
		return "", err
	}
	text, err := json.Marshal(c.details)
	return string(text), err
}

// write makes changes in one round trip, durably, also on a full Redis: statuses wait until an opt-out is stored.
func (s *Store) write(ctx context.Context, all []change) ([]message.SuppressionChange, error) {
	if len(all) == 0 {
		return nil, nil
	}
	args, known := make([][]any, len(all)), *s.lists.Load()
	news := map[string]bool{}
	for i, c := range all {
		text, err := s.text(c)
		if err != nil {
			return nil, err
		}
		state, at := "i", int64(0)
		switch {
		case c.join:
			state = "="
		case c.out:
			state = "o"
		}
		if !c.at.IsZero() {
			at = c.at.UnixMilli()
		}
		args[i] = []any{state, at, text}
		for _, n := range c.names {
			args[i] = append(args[i], n)
		}
		if !known[c.client] {
			news[c.client] = true
		}
	}
	if len(news) > 0 {
		err := s.tx.Do(ctx, 0, store.Change{Slot: listsKey, Durable: true, Decide: func(_ []string, w *store.Writes) error {
			for client := range news {
				w.SAdd(listsKey, client)
			}
			return nil
		}})
		if err != nil {
			return nil, fmt.Errorf("store which suppression lists have entries: %w", err)
		}
	}
	replies := make([]*redis.Cmd, len(all))
	err := s.db.Durably(ctx, func(p redis.Pipeliner) {
		for i, c := range all {
			replies[i] = s.put.Add(ctx, p, []string{entriesKey(c.client), namesKey(c.client), timesKey(c.client)}, args[i]...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("change suppression lists: %w", err)
	}
	if len(news) > 0 {
		if err := s.Load(ctx); err != nil {
			return nil, err
		}
	}
	done := make([]message.SuppressionChange, len(all))
	for i, r := range replies {
		reply, err := r.Slice()
		if err != nil || len(reply) != 2 {
			return nil, fmt.Errorf("change suppression lists: the script's reply is not understood: %w", err)
		}
		done[i] = message.SuppressionChange{Before: reply[0] == "o", Stored: reply[1] == int64(1)}
	}
	return done, nil
}

// name sets the names of changes: those of the queries that are of each.
func (s *Store) name(ctx context.Context, changes []change, asked []Query, of []int) error {
	names, err := s.names(ctx, asked)
	for i, some := range names {
		c := &changes[of[i]]
		for _, name := range some {
			if !slices.Contains(c.names, name) {
				c.names = append(c.names, name)
			}
		}
	}
	return err
}

// nameRecipients sets the names of changes by their recipients, in the scopes of the numbers of their clients.
func (s *Store) nameRecipients(ctx context.Context, changes []change) error {
	var asked []Query
	var of []int
	for i, c := range changes {
		for _, number := range s.numbersOf(c.client) {
			asked, of = append(asked, Query{c.client, number, c.recipient}), append(of, i)
		}
	}
	return s.name(ctx, changes, asked, of)
}

// Add adds people to the list of a client, and Remove removes them. They return what became of each. The error may be ErrNoKey.
func (s *Store) Add(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error) {
	return s.order(ctx, client, true, all)
}

// Remove is the reverse of Add: the people want marketing messages again.
func (s *Store) Remove(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error) {
	return s.order(ctx, client, false, all)
}

func (s *Store) order(ctx context.Context, client string, out bool, all []message.SuppressionOrder) ([]message.SuppressionChange, error) {
	if !s.On() {
		return nil, ErrNoKey
	}
	changes := make([]change, len(all))
	for i, o := range all {
		changes[i] = change{client: client, out: out, at: o.At, recipient: o.Recipient, details: details{Source: o.Source, Reason: o.Reason, By: o.By}}
	}
	if err := s.nameRecipients(ctx, changes); err != nil {
		return nil, err
	}
	if err := s.publish(ctx, changes); err != nil {
		return nil, err
	}
	return s.write(ctx, changes)
}

// numbersMost is for how many numbers of a client a recipient is looked up: those of a business portfolio know a person by the same names.
const numbersMost = 20

// numbersOf returns numbers of a client in whose scopes a person is looked up. One without an id stands for a client without numbers.
func (s *Store) numbersOf(client string) []string {
	all := s.o.Numbers(client)
	if len(all) == 0 {
		return []string{""}
	}
	return all[:min(len(all), numbersMost)]
}

// Get returns the entry of a person in the list of a client, with the masked recipient; nil: the person is not in it.
func (s *Store) Get(ctx context.Context, client, recipient string) (*message.Suppression, error) {
	if !s.On() {
		return nil, ErrNoKey
	}
	var all []Query
	for _, number := range s.numbersOf(client) {
		all = append(all, Query{client, number, recipient})
	}
	found, err := s.Find(ctx, all)
	for _, one := range found {
		if one != nil {
			return one, nil
		}
	}
	return nil, err
}

// Page returns up to limit entries of the list of a client, the latest first, after a position, and the position after them; empty: there
// are no more. whole: recipients are not masked; one that cannot be decrypted stays masked.
func (s *Store) Page(ctx context.Context, client, after string, limit int, whole bool) (all []message.Suppression, next string, err error) {
	if !s.On() {
		return nil, "", ErrNoKey
	}
	by := redis.ZRangeArgs{Key: timesKey(client), Start: "+inf", Stop: "-inf", ByScore: true, Rev: true, Count: int64(limit)}
	last, skip, ok := position(after)
	if after != "" {
		if !ok {
			return nil, "", fmt.Errorf("%q is no position in a suppression list", after)
		}
		by.Start, by.Offset = strconv.FormatInt(last, 10), skip
	}
	some, err := s.db.ZRangeArgsWithScores(ctx, by).Result()
	if err != nil || len(some) == 0 {
		return nil, "", err
	}
	ids := make([]string, len(some))
	for i, z := range some {
		ids[i], _ = z.Member.(string)
		if at := int64(z.Score); at == last && ok {
			skip++
		} else {
			last, skip, ok = at, 1, true
		}
	}
	texts, err := s.db.HMGet(ctx, entriesKey(client), ids...).Result()
	if err != nil {
		return nil, "", err
	}
	for _, v := range texts {
		text, _ := v.(string)
		e := entryOf(text)
		if !e.out {
			continue // it changed meanwhile
		}
		one := s.shown(client, e)
		if recipient, err := s.o.Box.Decrypt(sealed, e.what.Recipient); whole && err == nil {
			one.Recipient = recipient
		}
		all = append(all, one)
	}
	if len(some) == limit {
		next = fmt.Sprintf("%d.%d", last, skip)
	}
	return all, next, nil
}

// position reads a position: the time of the last entry, and how many with this time came before.
func position(text string) (at, skip int64, ok bool) {
	a, b, _ := strings.Cut(text, ".")
	at, errAt := strconv.ParseInt(a, 10, 64)
	skip, errSkip := strconv.ParseInt(b, 10, 64)
	return at, skip, errAt == nil && errSkip == nil && at >= 0 && skip >= 0
}

// CountOf returns the number of people in the list of a client.
func (s *Store) CountOf(ctx context.Context, client string) (int, error) {
	n, err := s.db.ZCard(ctx, timesKey(client)).Result()
	return int(n), err
}

// Count returns the number of people in all lists, in two round trips.
func (s *Store) Count(ctx context.Context) (n int, err error) {
	clients, err := s.db.SMembers(ctx, listsKey).Result()
	if err != nil || len(clients) == 0 {
		return 0, err
	}
	counts := make([]*redis.IntCmd, len(clients))
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, client := range clients {
			counts[i] = p.ZCard(ctx, timesKey(client))
		}
	})
	for _, c := range counts {
		n += int(c.Val())
	}
	return n, err
}
