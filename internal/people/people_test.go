package people_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	number = "106540352242922"
	other  = "106540352242923" // of another portfolio
	phone  = "491701234567"
	moved  = "491707654321"
	user   = "DE.1234567890"
	newer  = "DE.9876543210"
	parent = "DE.ENT.555"
	change = "wamid.change"
)

type owners struct{ accounts, portfolios map[string]string }

func (o owners) All(context.Context) (map[string]string, error)        { return o.accounts, nil }
func (o owners) Portfolios(context.Context) (map[string]string, error) { return o.portfolios, nil }

// counter counts the commands that reach Redis.
type counter struct{ atomic.Int64 }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "hello" { // of a new connection
			c.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

type setup struct {
	*people.People
	db       *store.DB
	commands counter
	now      time.Time
}

func newSetup(t testing.TB) *setup {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{db: db, now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	db.UniversalClient.(*redis.Client).AddHook(&s.commands)
	s.People = s.process(t)
	return s
}

// process returns the people of a process of the installation.
func (s *setup) process(t testing.TB) *people.People {
	t.Helper()
	p := people.New(s.db, people.Options{
		Hash: secrets.Hasher("a key", "recipient index"), Shards: 2, Now: func() time.Time { return s.now },
		Owners: owners{map[string]string{number: "500", other: "600"}, map[string]string{"500": "A", "501": "A"}},
	})
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *setup) learn(t testing.TB, all ...message.Identities) {
	t.Helper()
	for i := range all {
		if all[i].Number == "" {
			all[i].Number = number
		}
	}
	if err := s.Learn(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// persons returns the persons of recipients of a number.
func persons(t testing.TB, p *people.People, number string, recipients ...string) []people.ID {
	t.Helper()
	var ask []people.Query
	for _, r := range recipients {
		ask = append(ask, people.Query{Number: number, Identity: p.Identity(r)})
	}
	ids, err := p.Lookup(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// same reports which recipients are one person, as text: "a=b c".
func same(t testing.TB, p *people.People, number string, recipients ...string) string {
	t.Helper()
	var groups []string
	var of []people.ID
	for i, id := range persons(t, p, number, recipients...) {
		if at := slices.Index(of, id); at >= 0 {
			groups[at] += "=" + recipients[i]
		} else {
			of, groups = append(of, id), append(groups, recipients[i])
		}
	}
	return strings.Join(groups, " ")
}

// TestOnePerson: what Meta reports together is one person, in the numbers of its portfolio only.
func TestOnePerson(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	const without9, with9 = "551187654321", "5511987654321" // Meta writes some numbers in another way
	for name, c := range map[string]struct {
		reports []message.Identities
		ask     []string
		want    string
	}{
		"nothing is known":               {nil, []string{"+" + phone, user}, "+" + phone + " " + user},
		"a phone number and a user id":   {[]message.Identities{{User: user, Phones: []string{phone}}}, []string{"+" + phone, phone, user, moved}, "+" + phone + "=" + phone + "=" + user + " " + moved},
		"a parent user id":               {[]message.Identities{{User: user, Parent: parent}}, []string{user, parent}, user + "=" + parent},
		"the phone number comes later":   {[]message.Identities{{User: user, Parent: parent}, {User: user, Phones: []string{phone}}}, []string{user, parent, phone}, user + "=" + parent + "=" + phone},
		"the user id comes alone first":  {[]message.Identities{{User: user}, {User: user, Phones: []string{phone}}}, []string{user, phone}, user + "=" + phone},
		"two ways to write a number":     {[]message.Identities{{Phones: []string{with9, without9}}, {User: user, Phones: []string{without9}}}, []string{"+" + with9, without9, user}, "+" + with9 + "=" + without9 + "=" + user},
		"another user id of the number":  {[]message.Identities{{User: user, Phones: []string{phone}}, {User: newer, Phones: []string{phone}}}, []string{phone, user, newer}, phone + "=" + user + "=" + newer},
		"another portfolio":              {[]message.Identities{{Number: other, User: user, Phones: []string{phone}}}, []string{phone, user}, phone + " " + user},
		"another account of portfolio A": {[]message.Identities{{Number: "7", Account: "501", User: user, Phones: []string{phone}}}, []string{phone, user}, phone + "=" + user},
		"the person changes the number": {
			[]message.Identities{{User: user, Phones: []string{phone}}, {User: newer, Phones: []string{moved}, FormerPhone: phone, FormerUser: user, Change: change}},
			[]string{user, newer, moved, phone},
			user + "=" + newer + "=" + moved + " " + phone,
		},
		"the number has a new owner": {
			[]message.Identities{{User: user, Phones: []string{phone}}, {Phones: []string{moved}, FormerPhone: phone, Change: change}, {User: newer, Phones: []string{phone}}},
			[]string{user, moved, newer, phone},
			user + "=" + moved + " " + newer + "=" + phone,
		},
		"the person changes back": {
			[]message.Identities{{User: user, Phones: []string{phone}}, {Phones: []string{moved}, FormerPhone: phone, Change: change}, {Phones: []string{phone}, FormerPhone: moved, Change: "2"}},
			[]string{user, phone, moved},
			user + "=" + phone + " " + moved,
		},
		"the change comes after the new names": {
			[]message.Identities{{User: user, Phones: []string{phone}}, {User: newer, Phones: []string{moved}}, {User: newer, Phones: []string{moved}, FormerPhone: phone, Change: change}},
			[]string{user, newer, moved, phone},
			user + "=" + newer + "=" + moved + " " + phone,
		},
		"the person changes the user id": {
			[]message.Identities{{User: user, Phones: []string{phone}}, {User: newer, FormerUser: user, Change: change}},
			[]string{phone, user, newer},
			phone + "=" + user + "=" + newer,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, twice := range []bool{false, true} {
				s.db.FlushAll(t.Context())
				s.People = s.process(t)
				before := persons(t, s.People, number, phone)
				for _, r := range c.reports {
					s.learn(t, r)
				}
				if twice { // another process gets them again
					again := s.process(t)
					for _, r := range c.reports[len(c.reports)-min(1, len(c.reports)):] {
						if r.Number == "" {
							r.Number = number
						}
						if err := again.Learn(t.Context(), []message.Identities{r}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if got := same(t, s.process(t), number, c.ask...); got != c.want {
					t.Errorf("one person are %s, want %s (repeated: %t)", got, c.want, twice)
				}
				if strings.Contains(name, "changes the") {
					if now := persons(t, s.process(t), number, newer); now[0] != before[0] {
						t.Errorf("the person has another id after the change")
					}
				}
			}
		})
	}
}

// TestCommands counts the commands of Redis: none for a phone number that never changed, and none for a report that is stored.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	count := func(f func()) int64 {
		before := s.commands.Load()
		f()
		return s.commands.Load() - before
	}
	both := message.Identities{Number: number, User: user, Phones: []string{phone}}
	for _, c := range []struct {
		name string
		want int64
		f    func()
	}{
		{"a phone number alone is learned", 0, func() { s.learn(t, message.Identities{Phones: []string{phone, phone}}) }},
		{"a report is learned: two reads, one write", 3, func() { s.learn(t, both) }},
		{"it comes again", 0, func() { s.learn(t, both, both) }},
		{"phone numbers are looked up", 0, func() { persons(t, s.People, number, phone, moved) }},
		{"a user id is looked up", 1, func() { persons(t, s.People, number, phone, user) }},
		{"a number changes: two reads, two writes with a bit each, the version, and the filter", 9, func() {
			s.learn(t, message.Identities{Phones: []string{moved}, FormerPhone: phone, Change: change})
		}},
		{"the changed phone numbers are looked up", 2, func() { persons(t, s.People, number, phone, moved, "4915112345678") }},
	} {
		if got := count(c.f); got != c.want {
			t.Errorf("%s: %d commands, want %d", c.name, got, c.want)
		}
	}
	if got := same(t, s.People, number, user, moved, phone); got != user+"="+moved+" "+phone {
		t.Errorf("one person are %s", got)
	}
}

// TestFindAndForget: a person is found by each name, without a number that the person left, and forgotten.
func TestFindAndForget(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.learn(t,
		message.Identities{User: user, Parent: parent, Phones: []string{phone}},
		message.Identities{Number: other, User: "DE.other", Phones: []string{phone}},
		message.Identities{User: "DE.stranger", Phones: []string{"4915112345678"}})
	hashes := func(names ...string) (all []people.ID) {
		for _, n := range names {
			all = append(all, s.Identity(n).Hash)
		}
		return all
	}
	found := func(recipient string, find func(context.Context, string) (people.Person, error), want ...string) {
		t.Helper()
		got, err := find(t.Context(), recipient)
		if err != nil {
			t.Fatal(err)
		}
		ids := hashes(want...)
		if got.Identities[0] != ids[0] {
			t.Errorf("%s is not the first that was found", recipient)
		}
		for _, name := range []string{user, newer, parent, phone, moved, "DE.other", "DE.stranger", "4915112345678"} {
			if is := slices.Contains(got.Identities, s.Identity(name).Hash); is != slices.Contains(want, name) {
				t.Errorf("%s: found %s: %t", recipient, name, is)
			}
		}
	}
	found("+"+phone, s.Find, phone, user, parent, "DE.other")
	found(user, s.Find, user, phone, parent)
	s.learn(t, message.Identities{User: newer, Phones: []string{moved}, FormerPhone: phone, FormerUser: user, Change: change})
	found(moved, s.Find, moved, newer, user, parent)
	if p, err := s.Find(t.Context(), moved); err != nil || !slices.Contains(p.IDs, persons(t, s.People, number, moved)[0]) {
		t.Errorf("%x, %v: without what Lookup returns", p.IDs, err)
	}
	found(phone, s.Find, phone, "DE.other")
	found(newer, s.Forget, newer, moved, user, parent)
	if got := same(t, s.People, number, user, newer, moved); strings.Contains(got, "=") {
		t.Errorf("after the person is forgotten: %s", got)
	}
	found("+4915112345678", s.Find, "4915112345678", "DE.stranger")
}

// TestRetention: an entry that Meta does not report any more is deleted, and a report keeps it.
func TestRetention(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	a, b := message.Identities{User: user, Phones: []string{phone}}, message.Identities{User: newer, Phones: []string{moved}}
	s.learn(t, a, b)
	s.now = s.now.Add(people.Retention)
	s.learn(t, a)
	s.now = s.now.Add(48 * time.Hour)
	if n, err := s.Tidy(t.Context()); n != 1 || err != nil {
		t.Errorf("deleted %d, %v; want 1", n, err)
	}
	if got := same(t, s.People, number, user, phone, newer, moved); got != user+"="+phone+" "+newer+" "+moved {
		t.Errorf("left is %s", got)
	}
}

// TestNote: Run learns what was noted, and other processes know a changed phone number soon after.
func TestNote(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	second := s.process(t)
	s.Note(message.Identities{Number: number, Phones: []string{"5511987654321", "551187654321"}})
	for _, p := range []*people.People{s.People, second} {
		go func() { done <- p.Run(ctx) }()
	}
	poll.Until(t, "the other process knows it", func() bool {
		return same(t, second, number, "5511987654321", "551187654321") == "5511987654321=551187654321"
	})
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestWithoutAKey: without a secrets key nothing is stored, and no name has a person.
func TestWithoutAKey(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	p := people.New(s.db, people.Options{Shards: 2})
	if err := p.Learn(t.Context(), []message.Identities{{Number: number, User: user, Phones: []string{phone}}}); err != nil {
		t.Error(err)
	}
	if ids := persons(t, p, number, user, phone); ids[0] != (people.ID{}) || ids[1] != (people.ID{}) || p.On() {
		t.Errorf("found %x", ids)
	}
	if keys := s.db.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("stored %q", keys)
	}
}

// BenchmarkMemory measures the memory of Redis for a person, and how long it takes to learn and to find one.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		s := newSetup(b)
		used := func() (n int64) {
			_, text, _ := strings.Cut(s.db.Info(b.Context(), "memory").Val(), "used_memory:")
			text, _, _ = strings.Cut(text, "\r")
			n, _ = strconv.ParseInt(text, 10, 64)
			return n
		}
		const all, together = 1_000_000, 500
		before, start := used(), time.Now()
		for i := 0; i < all; i += together {
			some := make([]message.Identities, together)
			for j := range some {
				some[j] = message.Identities{User: fmt.Sprint("DE.", i+j), Phones: []string{fmt.Sprint(4917000000000 + i + j)}}
			}
			s.learn(b, some...)
		}
		b.ReportMetric(float64(used()-before)/all, "B/person")
		b.ReportMetric(float64(time.Since(start).Microseconds())/all, "us/learned")
		start = time.Now()
		if p, err := s.Find(b.Context(), "DE.7"); err != nil || len(p.Identities) != 2 {
			b.Fatal(p, err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/find")
	}
}
