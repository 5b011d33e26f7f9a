package record

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"sluice/internal/message"
)

// A message can wait for another message of its number, its leader. It is queued, and no attempt begins before the
// leader has reached a state. The leader has the ids of the messages that wait for it, its followers: a change of the
// leader that decides about followers changes them in the same transaction.

// maxFollowers is how many messages may wait for one.
const maxFollowers = 20

// Waits reports whether the message waits for another one.
func (r *Record) Waits() bool { return r.After.ID != "" }

// reached reports whether the message has reached a state, or a later one.
func (r *Record) reached(s message.State) bool {
	return (!r.State.Final() || delivered(r.State)) && r.State.Rank("") >= s.Rank("")
}

// Follow returns what becomes of a message that waits for r to reach a state; false: it waits on. It is cancelled if r
// has ended before, or if nothing more of r will be recorded.
func (r *Record) Follow(s message.State) (message.Move, bool) {
	switch {
	case r.Exists() && r.reached(s):
		return message.Move{To: message.Queued, Reason: message.ReasonAfter, Released: true}, true
	case !r.Exists() || r.Tombstone() || r.State.Final() && !delivered(r.State):
		return message.Move{To: message.Cancelled, Reason: message.ReasonAfterEnded}, true
	}
	return message.Move{}, false
}

// AddFollower adds a message that waits for r to reach a state. It returns false if too many messages wait.
func (r *Record) AddFollower(id string, s message.State) bool {
	if len(r.Followers) >= maxFollowers {
		return false
	}
	r.Followers = append(slices.Clip(r.Followers), message.After{ID: id, State: s})
	return true
}

// TakeFollowers removes the followers that the state of r decides about, and returns their ids.
func (r *Record) TakeFollowers() (ids []string) {
	var left []message.After
	for _, f := range r.Followers {
		if _, decided := r.Follow(f.State); decided {
			ids = append(ids, f.ID)
		} else {
			left = append(left, f)
		}
	}
	if len(ids) > 0 {
		r.Followers = left
	}
	return ids
}

// putAfter writes the state as its letter, and the id.
func putAfter(b []byte, num protowire.Number, a message.After) []byte {
	if a.ID == "" {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, string(rune(a.State.Letter()))+a.ID)
}

func getAfter(s string) message.After {
	if s == "" {
		return message.After{}
	}
	return message.After{ID: s[1:], State: message.StateOf(s[0])}
}

func putFollowers(b []byte, num protowire.Number, r *Record) []byte {
	for _, f := range r.Followers {
		b = putAfter(b, num, f)
	}
	return b
}
