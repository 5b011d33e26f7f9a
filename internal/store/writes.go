package store

import (
	"slices"
	"time"
)

// Writes are the commands of one transaction. All writes to the same key become one command, because a command costs
// Redis as much as several of its arguments. The zero value is ready. It is not safe for concurrent use.
type Writes struct {
	sets, hashes, owned, zsets, joins, lists, tails, members keyed
	streams                                                  []stream
	counters                                                 []counter

	calls  [][2]string
	others [][]any
	count  int // of the requested writes
}

// keyed has fields by key, in the order in which they were added.
type keyed struct {
	keys []string
	of   map[string]*fields
}

// fields are the members of one key: the last write to each counts.
type fields struct {
	names  []string
	values []any // nil: the member is removed
}

type stream struct {
	key, field string
	lines      []byte
	n          int // lines
}

// entryMost is how many lines an entry of a stream has at most.
const entryMost = 100

type counter struct {
	key   string
	field string // of a hash; empty: the key is a counter itself
	n     int64
	life  time.Duration // of the hash after the last write
}

func (k *keyed) at(key string) *fields {
	if f := k.of[key]; f != nil {
		return f
	}
	if k.of == nil {
		k.of = map[string]*fields{}
	}
	f := &fields{}
	k.of[key] = f
	k.keys = append(k.keys, key)
	return f
}

func (f *fields) put(name string, value any) {
	if i := slices.Index(f.names, name); i >= 0 {
		f.values[i] = value
		return
	}
	f.names, f.values = append(f.names, name), append(f.values, value)
}

// Set sets a string. A later Change of the same transaction reads it.
func (w *Writes) Set(key string, value []byte) {
	w.count++
	w.sets.at("").put(key, value)
}

// Delete deletes keys of any type. A later Change of the same transaction finds none.
func (w *Writes) Delete(keys ...string) {
	w.count++
	for _, k := range keys {
		w.sets.at("").put(k, nil)
	}
}

// HSet sets fields of a hash, given as alternating names and values.
func (w *Writes) HSet(key string, pairs ...any) {
	w.count++
	f := w.hashes.at(key)
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		f.put(name, pairs[i+1])
	}
}

// HDel removes a field of a hash.
func (w *Writes) HDel(key, name string) {
	w.count++
	w.hashes.at(key).put(name, nil)
}

// HDelIf removes a field of a hash if it has the value. It runs after the writes of HSet and HDel.
func (w *Writes) HDelIf(key, name, value string) {
	w.count++
	f := w.owned.at(key)
	f.names, f.values = append(f.names, name), append(f.values, value) // several callers may mean different values
}

// ZAdd adds a member to a sorted set, or changes its score.
func (w *Writes) ZAdd(key string, score int64, member string) {
	w.count++
	w.zsets.at(key).put(member, score)
}

// ZAddNew adds a member to a sorted set if it is not there yet.
func (w *Writes) ZAddNew(key string, score int64, member string) {
	w.count++
	w.joins.at(key).put(member, score)
}

// ZRem removes a member of a sorted set.
func (w *Writes) ZRem(key, member string) {
	w.count++
	w.zsets.at(key).put(member, nil)
}

// SAdd adds a member to a set.
func (w *Writes) SAdd(key, member string) {
	w.count++
	w.members.at(key).put(member, true)
}

// LPush adds values to the left of a list, one after the other.
func (w *Writes) LPush(key string, values ...string) {
	w.count++
	f := w.lists.at(key)
	f.names = append(f.names, values...)
}

// RPush adds values to the right of a list, one after the other.
func (w *Writes) RPush(key string, values ...string) {
	w.count++
	f := w.tails.at(key)
	f.names = append(f.names, values...)
}

// Append appends a line to a field of a new entry of a stream. All lines of a transaction for the
// same stream are one entry, separated by line breaks.
func (w *Writes) Append(key, field string, line []byte) {
	w.count++
	i := slices.IndexFunc(w.streams, func(s stream) bool { return s.key == key && s.n < entryMost })
	if i < 0 {
		w.streams, i = append(w.streams, stream{key: key, field: field}), len(w.streams)
	}
	s := &w.streams[i]
	s.n++
	if len(s.lines) > 0 {
		s.lines = append(s.lines, '\n')
	}
	s.lines = append(s.lines, line...)
}

// IncrBy adds n to a counter.
func (w *Writes) IncrBy(key string, n int64) {
	w.count++
	if i := slices.IndexFunc(w.counters, func(c counter) bool { return c.key == key && c.field == "" }); i >= 0 {
		w.counters[i].n += n
		return
	}
	w.counters = append(w.counters, counter{key: key, n: n})
}

// HIncrBy adds n to a counter of a hash. The hash is deleted when it was not written for its life.
func (w *Writes) HIncrBy(key, field string, n int64, life time.Duration) {
	w.count++
	if i := slices.IndexFunc(w.counters, func(c counter) bool { return c.key == key && c.field == field }); i >= 0 {
		w.counters[i].n += n
		return
	}
	w.counters = append(w.counters, counter{key, field, n, life})
}

// Publish sends a message to a channel, only once for repeated calls.
func (w *Writes) Publish(channel, text string) {
	w.count++
	if c := [2]string{channel, text}; !slices.Contains(w.calls, c) {
		w.calls = append(w.calls, c)
	}
}

// Do adds any other command. It runs after the writes above.
func (w *Writes) Do(args ...any) {
	w.count++
	w.others = append(w.others, args)
}

// Lookup returns the value of a string after these writes; false if they do not set it.
func (w *Writes) Lookup(key string) ([]byte, bool) {
	f := w.sets.of[""]
	if f == nil {
		return nil, false
	}
	i := slices.Index(f.names, key)
	if i < 0 {
		return nil, false
	}
	v, _ := f.values[i].([]byte)
	return v, true
}

// hdelIf is not a command of Redis: a script does it, hdelif.lua in a transaction, and change.lua itself.
const hdelIf = "hdelif"

// commands returns the commands, each as its name and arguments.
func (w *Writes) commands() [][]any {
	var all [][]any
	add := func(name string, first []any, rest ...any) {
		if len(rest) > 0 {
			all = append(all, append(append([]any{name}, first...), rest...))
		}
	}
	none := []any(nil)
	if f := w.sets.of[""]; f != nil {
		var set, gone []any
		for i, key := range f.names {
			if f.values[i] == nil {
				gone = append(gone, key)
			} else {
				set = append(set, key, f.values[i])
			}
		}
		add("unlink", none, gone...)
		add("mset", none, set...)
	}
	// each separates the members of each key into those to set and those to remove.
	each := func(k *keyed, put, remove string, pair func(name string, value any) []any) {
		for _, key := range k.keys {
			f := k.of[key]
			var there, gone []any
			for i, name := range f.names {
				if f.values[i] == nil {
					gone = append(gone, name)
				} else {
					there = append(there, pair(name, f.values[i])...)
				}
			}
			add(put, []any{key}, there...)
			add(remove, []any{key}, gone...)
		}
	}
	each(&w.hashes, "hset", "hdel", func(name string, value any) []any { return []any{name, value} })
	for _, key := range w.owned.keys {
		var pairs []any
		for i, name := range w.owned.of[key].names {
			pairs = append(pairs, name, w.owned.of[key].values[i])
		}
		add(hdelIf, []any{key}, pairs...)
	}
	for _, l := range []struct {
		name  string
		lists *keyed
	}{{"lpush", &w.lists}, {"rpush", &w.tails}} {
		for _, key := range l.lists.keys {
			var values []any
			for _, v := range l.lists.of[key].names {
				values = append(values, v)
			}
			add(l.name, []any{key}, values...)
		}
	}
	each(&w.zsets, "zadd", "zrem", func(name string, value any) []any { return []any{value, name} })
	for _, key := range w.joins.keys {
		var pairs []any
		for i, name := range w.joins.of[key].names {
			pairs = append(pairs, w.joins.of[key].values[i], name)
		}
		add("zadd", []any{key, "nx"}, pairs...)
	}
	each(&w.members, "sadd", "srem", func(name string, _ any) []any { return []any{name} })
	expiring := map[string]bool{}
	for _, c := range w.counters {
		if c.field == "" {
			add("incrby", []any{c.key}, c.n)
			continue
		}
		add("hincrby", []any{c.key, c.field}, c.n)
		if !expiring[c.key] {
			expiring[c.key] = true
			add("expire", []any{c.key}, int64(c.life/time.Second))
		}
	}
	for _, s := range w.streams {
		add("xadd", []any{s.key, "*", s.field}, s.lines)
	}
	all = append(all, w.others...)
	for _, c := range w.calls {
		add("publish", []any{c[0]}, c[1])
	}
	return all
}
