package queue

import (
	"context"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/pacing"
)

// TaskID names a task: the K-th of a message.
type TaskID struct {
	Message string
	K       int
}

// Verdict is what the record of a message says about one of its tasks.
type Verdict int

const (
	Sendable Verdict = iota // may be sent now
	NotYet                  // not before Candidate.At
	Void                    // has nothing to do: its message is cancelled, expired, settled, or has another task
)

// Candidate is what a server must know of a task that it has fetched.
type Candidate struct {
	Verdict
	At        time.Time        // of NotYet, by Redis's clock
	Recipient pacing.Recipient // names number and recipient; zero: no limit holds
	Accepted  time.Time        // when the message was: the order in which it waits for its recipient
	Template  string           // what holds on templates name
	Tags      []string         // what holds on tags name
	Known     any              // what the handler is given
}

// Candidates returns what the records say about tasks of one shard, in their order. It must do
// nothing else: a task may be asked about several times.
type Candidates func(ctx context.Context, shard message.Shard, tasks []TaskID) ([]Candidate, error)

// holdOn returns the name of the hold that keeps a task's candidate, out of those that are in force;
// empty: none does. A hold on its template may let this task go, to find out.
func (c *Candidate) holdOn(number, task string, holds []string) string {
	for _, name := range holds {
		if c.Template != "" && name == "template:"+number+":"+c.Template && !slices.Contains(holds, "probe:"+number+":"+task) {
			return name
		}
	}
	for _, tag := range c.Tags {
		for _, name := range holds {
			if name == "tag::"+tag || name == "tag:"+number+":"+tag {
				return name
			}
		}
	}
	return ""
}
