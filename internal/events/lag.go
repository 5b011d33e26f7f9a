package events

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/lag.lua
var lagLua string

const (
	// ownGroup is the name that Lags gives to Sluice itself, which applies what Meta reports. It is no consumer group.
	ownGroup = "sluice"
	// otherGroups is the name of all consumer groups after the first groupsMost: names are metric labels, and anybody who
	// can write to Redis can add groups.
	otherGroups = "other"
	groupsMost  = 20
)

// Lag is how far a reader of the event streams is behind, over all streams.
type Lag struct {
	Group   string
	Entries int           // that it has not read, or read and not acknowledged; -1: unknown
	Age     time.Duration // of the oldest of these entries; 0: there is none
}

// Lags returns how far Sluice and the consumer groups are behind, ordered by name. Groups after the first 20 by name are
// counted together. It takes one round trip.
func (s *Stream) Lags(ctx context.Context) ([]Lag, error) {
	var replies []*redis.Cmd
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		replies = nil
		for _, shard := range s.shards.All() {
			replies = append(replies,
				s.lags.Add(ctx, p, []string{MessageKey(shard)}),
				s.lags.Add(ctx, p, []string{MetaKey(shard), AppliedKey(shard)}))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read how far the readers of events are behind: %w", err)
	}
	all := map[string]Lag{ownGroup: {Group: ownGroup, Entries: -1}}
	for _, r := range replies {
		values, err := r.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("read how far the readers of events are behind: %w", err)
		}
		for v := range slices.Chunk(values, 3) {
			name := strings.ToValidUTF8(v[0], "?")
			if name == "" {
				name = ownGroup
			}
			entries, err := strconv.Atoi(v[1])
			ms, err2 := strconv.ParseInt(v[2], 10, 64)
			if err != nil || err2 != nil {
				return nil, fmt.Errorf("read how far the readers of events are behind: unexpected reply %q", v)
			}
			addLag(all, Lag{name, entries, time.Duration(ms) * time.Millisecond})
		}
	}
	lags := map[string]Lag{}
	n := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l := all[name]
		if name != ownGroup {
			if n++; n > groupsMost {
				l.Group = otherGroups
			}
		}
		addLag(lags, l)
	}
	return slices.SortedFunc(maps.Values(lags), func(a, b Lag) int { return strings.Compare(a.Group, b.Group) }), nil
}

// addLag adds a lag to the lag of the same group.
func addLag(all map[string]Lag, l Lag) {
	sum, known := all[l.Group]
	switch {
	case !known:
		sum = l
	case sum.Entries < 0 || l.Entries < 0:
		sum.Entries = -1
	default:
		sum.Entries += l.Entries
	}
	sum.Age = max(sum.Age, l.Age)
	all[l.Group] = sum
}
