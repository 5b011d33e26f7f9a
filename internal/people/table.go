package people

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// The table has an entry for each name that is not the person itself: from the keyed hash of the name, and its scope, to the
// person, with the day of the last report. It has many small hashes, which Redis stores compactly: an entry takes about 35 bytes
// of a million, as a key of its own it would take 100.
const (
	buckets      = 1 << 16
	refreshAfter = 30 // days after which an entry gets the day of a new report
	personLen    = len(ID{})
)

// tableKey is a part of the table.
func tableKey(shards message.Shards, bucket int) string {
	return store.Key(message.Shard(bucket%int(shards)), "people:"+strconv.Itoa(bucket))
}

// entryKey names an entry.
type entryKey struct {
	hash  ID
	scope scope
}

func (k entryKey) bucket() int { return int(binary.BigEndian.Uint16(k.hash[:])) }

func (k entryKey) field() string { return string(k.hash[:]) + string(k.scope[:]) }

// keyOf is the reverse of entryKey.field.
func keyOf(field string) (k entryKey, ok bool) {
	if len(field) != len(k.hash)+len(k.scope) {
		return k, false
	}
	return entryKey{ID([]byte(field[:len(k.hash)])), scope([]byte(field[len(k.hash):]))}, true
}

// entry is the person that has a name. day counts from 1970.
type entry struct {
	person ID
	day    uint16
}

func (e entry) known() bool { return e != entry{} }

func (e entry) text() string { return string(binary.BigEndian.AppendUint16(e.person[:], e.day)) }

// entryOf is the reverse of entry.text.
func entryOf(text string) (e entry) {
	if len(text) == personLen+2 {
		e = entry{ID([]byte(text[:personLen])), binary.BigEndian.Uint16([]byte(text[personLen:]))}
	}
	return e
}

func dayOf(t time.Time) uint16 { return uint16(t.Unix() / (24 * 60 * 60)) }

// read returns the entries with some keys; the zero entry: there is none.
func (p *People) read(ctx context.Context, keys []entryKey) ([]entry, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.StringCmd, len(keys))
	err := p.db.Pipe(ctx, func(pipe redis.Pipeliner) {
		for i, k := range keys {
			cmds[i] = pipe.HGet(ctx, tableKey(p.o.Shards, k.bucket()), k.field())
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	all := make([]entry, len(keys))
	for i, c := range cmds {
		all[i] = entryOf(c.Val())
	}
	return all, nil
}

// write stores entries. phones are the keys among them that belong to phone numbers.
func (p *People) write(ctx context.Context, entries map[entryKey]entry, phones map[entryKey]bool) error {
	if len(entries) == 0 {
		return nil
	}
	err := p.db.Pipe(ctx, func(pipe redis.Pipeliner) {
		for k := range phones { // before the entries: a look-up must not miss one
			if entries[k].known() {
				pipe.SetBit(ctx, filterKey(), filterBit(k.hash), 1)
			}
		}
		for k, e := range entries {
			pipe.HSet(ctx, tableKey(p.o.Shards, k.bucket()), k.field(), e.text())
		}
		if len(phones) > 0 {
			pipe.Incr(ctx, filterVersionKey())
		}
	})
	if err != nil {
		return fmt.Errorf("store people: %w", err)
	}
	return nil
}

//go:embed walk.lua
var walkLua string

// walkTogether is how many parts of the table one script reads.
const walkTogether = 128

// walk calls f with each entry, and deletes those for which f returns true. It reads the whole table: about a second for a
// million entries.
func (p *People) walk(ctx context.Context, f func(k entryKey, e entry) (remove bool)) (removed int, err error) {
	shards := int(p.o.Shards)
	for _, shard := range p.o.Shards.All() {
		for first := int(shard); first < buckets; first += shards * walkTogether {
			var keys []string
			for b := first; b < buckets && len(keys) < walkTogether; b += shards {
				keys = append(keys, tableKey(p.o.Shards, b))
			}
			n, err := p.walkSome(ctx, keys, f)
			if removed += n; err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// walkSome is walk for some parts of the table, which have one hash tag.
func (p *People) walkSome(ctx context.Context, keys []string, f func(k entryKey, e entry) (remove bool)) (removed int, err error) {
	var cmd *redis.Cmd
	if err := p.db.Pipe(ctx, func(pipe redis.Pipeliner) { cmd = p.parts.Add(ctx, pipe, keys) }); err != nil {
		return 0, fmt.Errorf("read people: %w", err)
	}
	reply, err := cmd.Slice()
	if err != nil {
		return 0, fmt.Errorf("read people: %w", err)
	}
	over := map[string][]string{}
	for i := 0; i+1 < len(reply); i += 2 {
		part, _ := reply[i].(int64)
		pairs, _ := reply[i+1].([]any)
		if part < 1 || int(part) > len(keys) {
			continue
		}
		key := keys[part-1]
		for j := 0; j+1 < len(pairs); j += 2 {
			field, _ := pairs[j].(string)
			text, _ := pairs[j+1].(string)
			if k, ok := keyOf(field); ok && f(k, entryOf(text)) {
				over[key] = append(over[key], field)
				removed++
			}
		}
	}
	if len(over) == 0 {
		return 0, nil
	}
	if err := p.db.Pipe(ctx, func(pipe redis.Pipeliner) {
		for key, fields := range over {
			pipe.HDel(ctx, key, fields...)
		}
	}); err != nil {
		return removed, fmt.Errorf("delete people: %w", err)
	}
	return removed, nil
}

// The filter has a bit for each phone number that has an entry. So a message to another phone number needs no command: most
// phone numbers are the person.
const filterBits = 1 << 20

func filterKey() string { return store.Key(0, "people:phones") }

func filterVersionKey() string { return store.Key(0, "people:version") }

func filterBit(h ID) int64 { return int64(binary.BigEndian.Uint32(h[4:]) % filterBits) }

// filter is what a process knows of the filter.
type filter struct {
	version string
	bits    string // as Redis has them: the first bit is the highest of the first byte
}

// may reports whether a phone number may have an entry.
func (f *filter) may(h ID) bool {
	if f == nil {
		return false
	}
	bit := filterBit(h)
	return bit/8 < int64(len(f.bits)) && f.bits[bit/8]>>(7-bit%8)&1 == 1
}

// refreshFilter reads the filter if it has changed: 128 KiB at most.
func (p *People) refreshFilter(ctx context.Context) error {
	version, err := p.db.Get(ctx, filterVersionKey()).Result()
	if err == redis.Nil {
		return nil
	}
	if known := p.filter.Load(); err != nil || known != nil && known.version == version {
		return err
	}
	bits, err := p.db.Get(ctx, filterKey()).Result()
	if err != nil && err != redis.Nil {
		return err
	}
	p.filter.Store(&filter{version, bits})
	return nil
}
