package record

import (
	"slices"
	"strings"

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

// Follow returns what becomes of a message that waits for r to reach a state, or not to; false: it waits on. r does not reach it if it
// has ended before, or if nothing more of r will be recorded.
func (r *Record) Follow(a message.After) (message.Move, bool) {
	reached := r.Exists() && r.reached(a.State)
	if !reached && r.Exists() && !r.Tombstone() && (!r.State.Final() || delivered(r.State)) {
		return message.Move{}, false
	}
	reason := message.ReasonAfterEnded
	if reached {
		reason = message.ReasonAfter
	}
	if reached == a.Not {
		return message.Move{To: message.Cancelled, Reason: reason}, true
	}
	return message.Move{To: message.Queued, Reason: reason, Released: true}, true
}

// AddFollower adds a message that waits for r as a says. It returns false if too many messages wait.
func (r *Record) AddFollower(id string, a message.After) bool {
	if len(r.Followers) >= maxFollowers {
		return false
	}
	r.Followers = append(slices.Clip(r.Followers), message.After{ID: id, State: a.State, Not: a.Not})
	return true
}

// TakeFollowers removes the followers that the state of r decides about, and returns their ids.
func (r *Record) TakeFollowers() (ids []string) {
	var left []message.After
	for _, f := range r.Followers {
		if _, decided := r.Follow(f); decided {
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

// putAfter writes the state as its letter, after an exclamation mark if the message must not reach it, and the id.
func putAfter(b []byte, num protowire.Number, a message.After) []byte {
	if a.ID == "" {
		return b
	}
	s := string(rune(a.State.Letter())) + a.ID
	if a.Not {
		s = "!" + s
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

func getAfter(s string) message.After {
	s, not := strings.CutPrefix(s, "!")
	if s == "" {
		return message.After{}
	}
	return message.After{ID: s[1:], State: message.StateOf(s[0]), Not: not}
}

func putFollowers(b []byte, num protowire.Number, r *Record) []byte {
	for _, f := range r.Followers {
		b = putAfter(b, num, f)
	}
	return b
}
