package record_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// store has records, as the model uses it. One implementation is memory. Another is real, a ledger on Redis, which is
// compared with memory call by call: see twin. Times are arguments: a real store must take its clock from the model.
//
// The result of a call is what happened. The model decides whether the caller gets the answer. A real store need only
// return the part of a decision that answer uses.
type store interface {
	// Read returns a record, for a later call to decide on. The call may be so late that the record has
	// changed since; a store that reads by itself may leave what was seen aside.
	Read(id string) seen
	// Accept makes the record of a message unless there is one. It returns the record that is there.
	Accept(s seen, m message.Message, at time.Time) (r record.Record, made bool)
	// Begin begins an attempt for a task, if it may.
	Begin(s seen, task int, token string, at time.Time) (record.Record, record.Begin)
	// Decide changes a record, if it may. With s.once it does so only if the record is as it was seen.
	Decide(s seen, in record.Input) (record.Record, record.Decision)
	// Restore writes down again what a worker remembers.
	Restore(s seen, m message.RememberedAttempt, at time.Time) (record.Record, record.Loss, record.Decision)
	// LeaveTombstone leaves a tombstone of a record whose time is over.
	LeaveTombstone(id string, until time.Time)
	// Remove removes a record whose time is over, or a tombstone.
	Remove(id string)

	Lists() map[message.List]map[string]int64 // the lists of messages: members with their scores
	Events(id string) []said                  // the events of a message's present record, the oldest first
	Names(wamid string) string                // the message that a report without our marker is about; empty: none

	Snapshot() (rewind func()) // rewind takes the store back to what it holds now
}

// answer is the result of a decision for its caller, in addition to the record.
func answer(in record.Input, d record.Decision) string {
	switch {
	case d.Duplicate:
		return "duplicate"
	case in.Kind == record.Outcome:
		return "" // the state, which the record has
	case d.Applied:
		return "applied"
	case d.Repeated:
		return "repeated"
	}
	return "not applied"
}

// seen is a record as an actor has read it.
type seen struct {
	id     string
	record record.Record
	stored string // the stored form; for memory
	once   bool
}

// said is an event: a change, or a final event.
type said struct {
	At     int64 // Unix milliseconds
	Change message.Change
	Final  message.Final
}

// rules are what the model tests. A test puts broken ones in their place, to see that the model finds
// them.
type rules struct {
	encode  func(*record.Record) []byte
	decode  func(id, stored string) (record.Record, error)
	begun   func(task int, token string, at time.Time) []byte
	begin   func(r record.Record, task int, token string, at time.Time) (record.Record, record.Begin)
	decide  func(r record.Record, in record.Input) (record.Record, record.Decision)
	restore func(r record.Record, m message.RememberedAttempt, at time.Time) (record.Record, record.Loss, record.Decision)
	entomb  func(r record.Record, until time.Time) record.Record
	place   func(r *record.Record) record.ListEntry

	watch    func(now, was string) bool // whether a transaction may change what was watched
	length   func(now, was string) bool // the same for a script that compares lengths
	alone    func(length, want int) bool
	freshFor time.Duration // how long after its begin a request may leave
	patient  bool          // nothing begins after a rewind until all is restored
	memorize bool          // workers remember
}

func theRules() rules {
	return rules{
		encode: (*record.Record).Encode, decode: record.Decode, begun: record.Begun,
		begin: record.Record.Begin, decide: record.Record.Decide, restore: record.Record.Restore, place: (*record.Record).ListEntry,
		entomb:   record.Record.ToTombstone,
		watch:    func(now, was string) bool { return now == was },
		length:   func(now, was string) bool { return len(now) == len(was) },
		alone:    func(length, want int) bool { return length == want },
		freshFor: 5 * time.Second,
		patient:  true,
		memorize: true,
	}
}

// memory is a Redis as the ledger uses it, with nothing else in it: values that are compared and
// set as a whole, or appended to; sorted sets; a stream.
type memory struct {
	rules  rules
	script func() bool // whether the next change compares lengths only, as on a full Redis
	broken func(format string, args ...any)

	values map[string]string
	lists  map[message.List]map[string]int64
	names  map[string]string // by Meta's ids
	events map[string][]said
}

func newMemory(r rules, rng *rand.Rand, broken func(string, ...any)) *memory {
	return &memory{
		rules: r, script: func() bool { return rng.IntN(3) == 0 }, broken: broken,
		values: map[string]string{}, names: map[string]string{}, events: map[string][]said{}, lists: map[message.List]map[string]int64{
			message.ListWaiting: {}, message.ListInDoubt: {}, message.ListParked: {}, message.ListDead: {}, message.ListAwaiting: {},
		},
	}
}

func (m *memory) Read(id string) seen {
	v := m.values[id]
	r, err := m.rules.decode(id, v)
	if err != nil {
		m.broken("%v: %x", err, v)
	}
	return seen{id: id, record: r, stored: v}
}

func (m *memory) Accept(s seen, order message.Message, at time.Time) (record.Record, bool) {
	for {
		if s.record.Exists() {
			return s.record, false
		}
		r := record.New(order, "recipient", at)
		if m.set(s, &r) {
			m.events[s.id] = []said{{At: at.UnixMilli(), Change: message.Change{To: message.Queued}}}
			return r, true
		}
		s = m.Read(s.id)
	}
}

func (m *memory) Begin(s seen, task int, token string, at time.Time) (record.Record, record.Begin) {
	r, begin := m.rules.begin(s.record, task, token, at)
	if begin.Verdict != message.Go || s.record.State == message.Attempting {
		return r, begin
	}
	entry := m.rules.begun(task, token, at)
	m.values[s.id] += string(entry)
	if m.rules.alone(len(m.values[s.id]), s.record.Version()+len(entry)) {
		return r.Appended(entry), begin
	}
	if r = m.Read(s.id).record; r.State == message.Attempting && r.Token == token {
		return r, begin
	}
	return m.rules.begin(r, task, token, at)
}

func (m *memory) Decide(s seen, in record.Input) (record.Record, record.Decision) {
	for {
		r, d := m.rules.decide(s.record, in)
		if !d.Changed {
			return r, d
		}
		if m.set(s, &r) {
			m.publish(s.id, in.At, d)
			return r, d
		}
		if s.once {
			return s.record, record.Decision{}
		}
		s = m.Read(s.id)
	}
}

func (m *memory) Restore(s seen, remembered message.RememberedAttempt, at time.Time) (record.Record, record.Loss, record.Decision) {
	for {
		r, loss, d := m.rules.restore(s.record, remembered, at)
		if !d.Changed && r.Attempt == s.record.Attempt {
			return r, loss, d
		}
		if m.set(s, &r) {
			m.publish(s.id, at, d)
			return r, loss, d
		}
		s = m.Read(s.id)
	}
}

func (m *memory) publish(id string, at time.Time, d record.Decision) {
	for _, c := range d.Changes {
		m.events[id] = append(slices.Clip(m.events[id]), said{At: at.UnixMilli(), Change: c.Change})
		if c.Final != nil {
			m.events[id] = append(m.events[id], said{At: at.UnixMilli(), Final: *c.Final})
		}
	}
}

// set puts a record in the place of the one that was seen, and moves the message in the lists by
// the difference of the two.
func (m *memory) set(s seen, r *record.Record) bool {
	same := m.rules.watch
	if m.script() {
		same = m.rules.length
	}
	if !same(m.values[s.id], s.stored) {
		return false
	}
	before, after := m.rules.place(&s.record), m.rules.place(r)
	if before != after {
		if before.List != message.NoList {
			delete(m.lists[before.List], before.Member)
		}
		if after.List != message.NoList {
			m.lists[after.List][after.Member] = after.Score
		}
	}
	was, is := s.record.IndexedWAMIDs(), r.IndexedWAMIDs()
	if !slices.Equal(was, is) {
		for _, w := range was {
			delete(m.names, w)
		}
		for _, w := range is {
			m.names[w] = s.id
		}
	}
	m.values[s.id] = string(m.rules.encode(r))
	return true
}

func (m *memory) LeaveTombstone(id string, until time.Time) {
	s := m.Read(id)
	t := m.rules.entomb(s.record, until)
	m.set(s, &t)
}

func (m *memory) Remove(id string) {
	r := m.Read(id).record
	if p := m.rules.place(&r); p.List != message.NoList {
		delete(m.lists[p.List], p.Member)
	}
	for _, w := range r.IndexedWAMIDs() {
		delete(m.names, w)
	}
	delete(m.values, id)
	delete(m.events, id)
}

func (m *memory) Lists() map[message.List]map[string]int64 { return m.lists }
func (m *memory) Events(id string) []said                  { return m.events[id] }
func (m *memory) Names(wamid string) string                { return m.names[wamid] }

func (m *memory) Snapshot() func() {
	then := m.copy()
	return func() {
		c := then.copy()
		m.values, m.lists, m.names, m.events = c.values, c.lists, c.names, c.events
	}
}

// copy returns a copy, to go back to.
func (m *memory) copy() *memory {
	c := *m
	c.values, c.names, c.events, c.lists = maps.Clone(m.values), maps.Clone(m.names), maps.Clone(m.events), maps.Clone(m.lists)
	for l := range c.lists {
		c.lists[l] = maps.Clone(c.lists[l])
	}
	return &c
}

// adopt makes one message what it is in another store.
func (m *memory) adopt(from *memory, id string) {
	delete(m.values, id)
	delete(m.events, id)
	for l := range m.lists {
		maps.DeleteFunc(m.lists[l], func(member string, _ int64) bool { return strings.HasSuffix(member, id) })
		for member, score := range from.lists[l] {
			if strings.HasSuffix(member, id) {
				m.lists[l][member] = score
			}
		}
	}
	maps.DeleteFunc(m.names, func(_, of string) bool { return of == id })
	for w, of := range from.names {
		if of == id {
			m.names[w] = id
		}
	}
	if v, is := from.values[id]; is {
		m.values[id], m.events[id] = v, from.events[id]
	}
}

// twin drives a second store alongside the first and compares what they answer and what they hold
// afterwards. The first one's answers count.
type twin struct {
	store
	other  store
	broken func(format string, args ...any)
}

// again is what a store has seen of a record that another one has seen, too.
func (t twin) again(s seen) seen {
	o := t.other.Read(s.id)
	o.once = s.once
	return o
}

func (t twin) same(what, id string, a, b any) {
	if x, y := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b); x != y {
		t.broken("%s %s: one store says\n %s, the other\n %s", what, id, x, y)
	}
	x, y := t.store.Read(id), t.other.Read(id)
	if !record.Same(x.record, y.record) {
		t.broken("%s %s: one store has\n %+v, the other\n %+v", what, id, x.record, y.record)
	}
	if x, y := t.store.Events(id), t.other.Events(id); !slices.Equal(x, y) {
		t.broken("%s %s: one store published\n %+v, the other\n %+v", what, id, x, y)
	}
	for _, wamid := range x.record.WAMIDs() {
		if x, y := t.store.Names(wamid), t.other.Names(wamid); x != y {
			t.broken("%s %s: %s leads to %q in one store, to %q in the other", what, id, wamid, x, y)
		}
	}
	x2, y2 := t.store.Lists(), t.other.Lists()
	for list := range x2 {
		if !maps.Equal(x2[list], y2[list]) {
			t.broken("%s %s: list %s is %v in one store, %v in the other", what, id, list, x2[list], y2[list])
		}
	}
}

func (t twin) Accept(s seen, m message.Message, at time.Time) (record.Record, bool) {
	r, made := t.store.Accept(s, m, at)
	_, too := t.other.Accept(t.again(s), m, at)
	t.same("accept", s.id, made, too)
	return r, made
}

func (t twin) Begin(s seen, task int, token string, at time.Time) (record.Record, record.Begin) {
	r, begin := t.store.Begin(s, task, token, at)
	_, too := t.other.Begin(t.again(s), task, token, at)
	t.same("begin", s.id, begin, too)
	return r, begin
}

func (t twin) Decide(s seen, in record.Input) (record.Record, record.Decision) {
	r, d := t.store.Decide(s, in)
	_, too := t.other.Decide(t.again(s), in)
	t.same("decide", s.id, answer(in, d), answer(in, too))
	return r, d
}

func (t twin) Restore(s seen, m message.RememberedAttempt, at time.Time) (record.Record, record.Loss, record.Decision) {
	r, loss, d := t.store.Restore(s, m, at)
	_, too, _ := t.other.Restore(t.again(s), m, at)
	t.same("restore", s.id, loss, too)
	return r, loss, d
}

func (t twin) Snapshot() func() {
	one, other := t.store.Snapshot(), t.other.Snapshot()
	return func() {
		one()
		other()
	}
}

func (t twin) LeaveTombstone(id string, until time.Time) {
	t.store.LeaveTombstone(id, until)
	t.other.LeaveTombstone(id, until)
	t.same("entomb", id, nil, nil)
}

func (t twin) Remove(id string) {
	t.store.Remove(id)
	t.other.Remove(id)
	t.same("remove", id, nil, nil)
}
