package queue

import (
	"cmp"
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

// Hold keeps the messages of a number, or of one template of it, from being sent. They wait
// in their order; their deadlines go on.
type Hold struct {
	Number   string    `json:"-"`
	Template string    `json:"-"` // "<name>/<language>"; empty: everything of the number
	Reason   string    `json:"reason"`
	Code     int       `json:"code,omitempty"` // Meta's, when an answer of Meta's was the reason
	By       string    `json:"by"`             // who ordered it
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"` // when it ends by itself; zero: it does not
}

// Holds orders and lists holds. It is safe for concurrent use.
type Holds struct {
	db     *store.DB
	shards message.Shards
}

// NewHolds returns the holds of an installation.
func NewHolds(db *store.DB, shards message.Shards) *Holds { return &Holds{db, shards} }

// holdsKey is a shard's holds, by what they hold: a hash. A value begins with the end of the
// hold in Unix milliseconds (0: none) and a blank, for the scripts; JSON follows.
func holdsKey(s message.Shard) string { return s.Key("holds") }

func (h Hold) field() string {
	if h.Template != "" {
		return "template:" + h.Number + ":" + h.Template
	}
	return "number:" + h.Number
}

// Set orders a hold. One that is there already is replaced, unless the new one ends sooner.
// Its effect begins with the next slots.
func (hs *Holds) Set(ctx context.Context, h Hold) error {
	key := holdsKey(hs.shards.Of(h.Number))
	if h.Since.IsZero() {
		h.Since = time.Now().UTC()
	}
	old, err := hs.db.HGet(ctx, key, h.field()).Result()
	if err == nil && !longer(h, old) {
		return nil
	}
	about, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	until := int64(0)
	if !h.Until.IsZero() {
		until = h.Until.UnixMilli()
	}
	if err := hs.db.HSet(ctx, key, h.field(), fmt.Sprintf("%d %s", until, about)).Err(); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	return nil
}

// longer tells whether h goes on for longer than the hold in a value of the hash.
func longer(h Hold, value string) bool {
	end, _, _ := strings.Cut(value, " ")
	ms, _ := strconv.ParseInt(end, 10, 64)
	return ms != 0 && (h.Until.IsZero() || h.Until.UnixMilli() > ms)
}

// Lift ends a hold on a number, or on one of its templates. Held messages go back to the
// heads of their queues. It is false when there was none.
func (hs *Holds) Lift(ctx context.Context, number, template string) (bool, error) {
	s := hs.shards.Of(number)
	var n *redis.IntCmd
	err := hs.db.Pipe(ctx, func(p redis.Pipeliner) {
		n = p.HDel(ctx, holdsKey(s), Hold{Number: number, Template: template}.field())
		p.Publish(ctx, wakeChannel(s), number)
	})
	if err != nil {
		return false, fmt.Errorf("lift hold: %w", err)
	}
	return n.Val() > 0, nil
}

// List returns all holds that have not ended, by number and template.
func (hs *Holds) List(ctx context.Context) ([]Hold, error) {
	all := make([]*redis.MapStringStringCmd, hs.shards)
	err := hs.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range hs.shards.All() {
			all[i] = p.HGetAll(ctx, holdsKey(s))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	var holds []Hold
	for _, c := range all {
		for field, value := range c.Val() {
			var h Hold
			_, about, _ := strings.Cut(value, " ")
			if err := json.Unmarshal([]byte(about), &h); err != nil {
				return nil, fmt.Errorf("hold %s: %w", field, err)
			}
			kind, rest, _ := strings.Cut(field, ":")
			if h.Number = rest; kind == "template" {
				h.Number, h.Template, _ = strings.Cut(rest, ":")
			}
			if h.Until.IsZero() || h.Until.After(time.Now()) {
				holds = append(holds, h)
			}
		}
	}
	slices.SortFunc(holds, func(a, b Hold) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Template, b.Template))
	})
	return holds, nil
}
