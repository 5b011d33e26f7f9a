package store

import "sluice/internal/message"

// WakeChannel returns the name of the channel on which a shard's workers are woken for a number that has
// something to do: with its phone number id, or with that, a blank and the class of an enqueued task from 0.
func WakeChannel(s message.Shard) string { return Key(s, "wake") }
