package message

import "errors"

// After is what a message waits for before it is queued: that another message of its number reaches a state, or that this one does not.
type After struct {
	ID    string `json:"id" doc:"Sluice's id of the message that it waits for."`
	State State  `json:"state" doc:"The state that this message must reach: submitted, sent, delivered or read."`
	Not   bool   `json:"not,omitempty" doc:"true: it is sent if that message does not reach the state in time."`
}

// AfterStates returns the states that a message can wait for.
func AfterStates() []State { return []State{Submitted, Sent, Delivered, Read} }

// Why a message that waits for another one is not accepted.
var (
	// ErrNoLeader means that there is no record of the message that it would wait for.
	ErrNoLeader = errors.New("the message to wait for was not found")
	// ErrFollowers means that too many messages wait for that message.
	ErrFollowers = errors.New("too many messages wait for that message")
)
