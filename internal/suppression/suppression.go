// Package suppression has the suppression lists: the people who get no marketing messages from a client, because they said so. Each
// client has a list, and the numbers without a client have one together. A person is in a list once, by the keyed hashes of the names
// that Meta reported together; the recipient is stored encrypted, so that a list can be exported.
//
// Lists that are empty cost nothing: a process knows which ones have ever had an entry.
package suppression

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// ErrNoKey means that there is no secrets key, without which nothing can be stored about people.
var ErrNoKey = errors.New("there is no key for secrets. Set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for all programs")

// listsEvery is when other processes know that the first person has come into a list, at the latest.
const listsEvery = time.Second

// listsKey is a set of the clients whose lists have ever had an entry.
const listsKey = "sluice:suppressions"

// key is a part of the list of a client. It is in no shard: a client sends from numbers of several.
func key(client, part string) string { return "sluice:suppressions:{of:" + client + "}:" + part }

func entriesKey(client string) string { return key(client, "entries") }
func namesKey(client string) string   { return key(client, "names") }
func timesKey(client string) string   { return key(client, "times") }

//go:embed put.lua
var putLua string

// Options configure a Store. All are required, except Second, Category, Publish and Log.
type Options struct {
	Hash    func(text string) string // makes the keyed hashes of recipients; nil: there is no secrets key, and the lists cannot be used
	Second  func(text string) string // the same with the second secrets key, while the key changes; nil: there is none
	Box     secrets.Box              // encrypts recipients
	People  *people.People
	Clients func(number string) []string                      // the clients that send from a number; one of them may be empty
	Numbers func(client string) []string                      // the numbers that a client sends from
	Applies func(client, number string, c message.Class) bool // reports whether opted-out people do not get messages of a class
	// Category returns the class for Meta's category of a template; empty: it is unknown. It must not block. Nil: all are unknown.
	Category func(number, name, language string) message.Class
	// Publish writes events about who opted out or in, also on a full Redis. Nil: there are none.
	Publish func(ctx context.Context, all []message.Event) error
	Words   Words
	Log     *slog.Logger // nil: no logs
}

// Store has the suppression lists in Redis. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	o      Options
	log    *slog.Logger
	tx     *store.Transactions
	put    store.Script
	forget store.Script
	lists  atomic.Pointer[map[string]bool] // the clients whose lists have ever had an entry
	warned atomic.Bool                     // that a stop word was not stored, because there is no secrets key
}

// New returns the suppression lists of an installation. Call Run, so that it knows which lists have entries.
func New(db *store.DB, o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{db: db, o: o, log: o.Log, tx: db.Transactions(false), put: db.Script(putLua), forget: db.Script(forgetLua)}
	s.lists.Store(&map[string]bool{})
	return s
}

// On reports whether there is a secrets key.
func (s *Store) On() bool { return s.o.Hash != nil }

// Load reads which lists have entries, in one command.
func (s *Store) Load(ctx context.Context) error {
	all, err := s.db.SMembers(ctx, listsKey).Result()
	if err != nil {
		return fmt.Errorf("read which suppression lists have entries: %w", err)
	}
	lists := map[string]bool{}
	for _, client := range all {
		lists[client] = true
	}
	s.lists.Store(&lists)
	return nil
}

// Run keeps up to date which lists have entries, until ctx ends. It returns nil.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(listsEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := s.Load(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot read which suppression lists have entries, will retry", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// Query asks whether a recipient may get a message of a client from a number.
type Query struct {
	Client, Number string
	Recipient      string // a phone number with or without its plus, or a user id
}

// Concerns reports whether a message may be suppressed: the list of its client has ever had an entry, and opted-out people do not get
// messages of its class, or of Meta's category of its template: a wrong class must not evade the list. It needs no round trip.
func (s *Store) Concerns(m message.Context) bool {
	if !s.On() || !(*s.lists.Load())[m.Client] {
		return false
	}
	if s.o.Applies(m.Client, m.From, m.Class) {
		return true
	}
	name, language, is := strings.Cut(m.Template, "/")
	return is && s.o.Category != nil && s.o.Applies(m.Client, m.From, s.o.Category(m.From, name, language))
}

// Allows returns message.ErrOptedOut if a message must not be sent because its recipient opted out, or because this cannot be read. It is
// one round trip, or none if the message is not concerned.
func (s *Store) Allows(ctx context.Context, m message.Context, recipient string) error {
	if recipient == "" || !s.Concerns(m) {
		return nil
	}
	switch found, err := s.Find(ctx, []Query{{m.Client, m.From, recipient}}); {
	case err != nil:
		return fmt.Errorf("%w: %w", message.ErrOptedOut, err)
	case found[0] != nil:
		return message.ErrOptedOut
	}
	return nil
}

// Find returns the entry of each recipient who opted out, with the masked recipient, or nil. It is one round trip, and a second one if an
// entry is found.
func (s *Store) Find(ctx context.Context, all []Query) ([]*message.Suppression, error) {
	found := make([]*message.Suppression, len(all))
	if len(all) == 0 || !s.On() {
		return found, nil
	}
	names, err := s.names(ctx, all)
	if err != nil {
		return nil, err
	}
	entries, err := s.read(ctx, all, names)
	for i, e := range entries {
		if e.out {
			found[i] = new(s.shown(all[i].Client, e))
		}
	}
	return found, err
}

// Check returns the entry of the recipient of each new message that it suppresses; nil, without a round trip, if no message is of a class
// and a client concerned.
func (s *Store) Check(ctx context.Context, all []*message.Message) ([]*message.Suppression, error) {
	var asked []Query
	var of []int
	for i, m := range all {
		if !m.Content.Group && s.Concerns(message.Context{Client: m.Client, From: m.From, Class: m.Class, Template: m.Content.TemplateID()}) {
			asked, of = append(asked, Query{m.Client, m.From, m.Content.Recipient()}), append(of, i)
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	found, err := s.Find(ctx, asked)
	checked := make([]*message.Suppression, len(all))
	for i, one := range found {
		checked[of[i]] = one
	}
	return checked, err
}

// read returns the latest entry with one of the names of each query; zero: there is none.
func (s *Store) read(ctx context.Context, all []Query, names [][]string) ([]entry, error) {
	ids := make([]*redis.SliceCmd, len(all))
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, q := range all {
			if len(names[i]) > 0 {
				ids[i] = p.HMGet(ctx, namesKey(q.Client), names[i]...)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read suppression lists: %w", err)
	}
	texts, hit := make([]*redis.SliceCmd, len(all)), false
	wanted := make([][]string, len(all))
	for i, cmd := range ids {
		if cmd == nil {
			continue
		}
		for _, v := range cmd.Val() {
			if id, ok := v.(string); ok {
				wanted[i], hit = append(wanted[i], id), true
			}
		}
	}
	entries := make([]entry, len(all))
	if !hit {
		return entries, nil
	}
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, q := range all {
			if len(wanted[i]) > 0 {
				texts[i] = p.HMGet(ctx, entriesKey(q.Client), wanted[i]...)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read suppression lists: %w", err)
	}
	for i, cmd := range texts {
		if cmd == nil {
			continue
		}
		for _, v := range cmd.Val() {
			if text, ok := v.(string); ok {
				if e := entryOf(text); e.at.After(entries[i].at) {
					entries[i] = e
				}
			}
		}
	}
	return entries, nil
}

// names returns the names under which the person of each query may have an entry: as people names the person, so that the next owner of
// a phone number is not suppressed, and user ids as they are, because they never change hands.
func (s *Store) names(ctx context.Context, all []Query) ([][]string, error) {
	ask := make([]people.Query, len(all))
	for i, q := range all {
		ask[i] = people.Query{Number: q.Number, Identity: s.identity(q.Recipient)}
	}
	ids, err := s.o.People.Lookup(ctx, ask)
	if err != nil {
		return nil, err
	}
	names := make([][]string, len(all))
	for i, id := range ids {
		own := ask[i].Identity
		if own == (people.Identity{}) {
			continue
		}
		names[i] = append(names[i], string(id[:]))
		if own.User && own.Hash != id {
			names[i] = append(names[i], string(own.Hash[:]))
		}
		if s.o.Second != nil {
			names[i] = append(names[i], s.o.Second(bare(all[i].Recipient)))
		}
	}
	return names, nil
}

// identity is that of people, which may have no key of its own.
func (s *Store) identity(recipient string) people.Identity {
	if recipient = bare(recipient); recipient == "" {
		return people.Identity{}
	}
	return people.Identity{Hash: people.ID([]byte(s.o.Hash(recipient))), User: message.IsUserID(recipient)}
}

// bare returns a recipient as its hash is made of: without a plus.
func bare(recipient string) string {
	if len(recipient) > 0 && recipient[0] == '+' {
		return recipient[1:]
	}
	return recipient
}
