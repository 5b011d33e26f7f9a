package message

import (
	"slices"
	"time"
)

// ListFilter selects messages for a list. The zero value selects every message that has a record.
type ListFilter struct {
	Numbers      []string  // phone number ids of the senders; nil: all
	States       []State   // none: all
	Tag          string    // accepted with this tag; empty: all
	Flow         *Flow     // of this campaign of this client; nil: all
	Code         *int      // with this error code of Meta; nil: all
	Since, Until time.Time // when they came into their state, both included; zero: no bound
}

// Wants reports whether the filter selects messages in a state.
func (f ListFilter) Wants(s State) bool { return len(f.States) == 0 || slices.Contains(f.States, s) }

// Selects reports whether the filter selects a record that came into its state at a time.
func (f ListFilter) Selects(r Record, since time.Time) bool {
	return f.Wants(r.State) && (f.Numbers == nil || slices.Contains(f.Numbers, r.From)) && (f.Tag == "" || slices.Contains(r.Tags, f.Tag)) &&
		(f.Code == nil || *f.Code == r.Code) && (f.Flow == nil || *f.Flow == r.Flow()) &&
		!since.Before(f.Since) && (f.Until.IsZero() || !since.After(f.Until))
}

// ListPosition is where the next page of a list of messages starts. The zero value is the start of the list.
type ListPosition struct {
	Shard  int    `json:"s,omitempty"` // index among the shards that the list reads
	Part   int    `json:"p,omitempty"` // index among the parts of a shard
	Bucket int64  `json:"b,omitempty"` // the hour or day within the part
	Score  int64  `json:"c,omitempty"` // of the last entry that was read
	Member string `json:"m,omitempty"` // the same entry
	Offset uint64 `json:"o,omitempty"` // about the rank of the entry, or the cursor of a Redis SCAN
}
