package queue

import (
	_ "embed"
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

// NamesLua defines names_of(), which makes the keys of a number out of one of them, for scripts.
//
//go:embed names.lua
var NamesLua string

// Keys are asynq's Redis keys of one queue, and its name. Task begins the key of each task.
type Keys struct{ Queue, Pending, Paused, Active, Lease, Scheduled, Retry, Processed, Task string }

// KeysOf returns asynq's keys of a number's class.
func KeysOf(s message.Shard, number string, c message.Class) Keys {
	return asynqKeys(name(s, number, c))
}

func asynqKeys(queue string) Keys {
	p := "asynq:{" + queue + "}:"
	return Keys{
		Queue: queue, Pending: p + "pending", Paused: p + "paused", Active: p + "active", Lease: p + "lease",
		Scheduled: p + "scheduled", Retry: p + "retry", Processed: p + "processed", Task: p + "t:",
	}
}

// QueuesKey is asynq's set of the names of all queues.
const QueuesKey = "asynq:queues"

// ProcessedOn is asynq's counter of one day, next to the counter of all days.
func (k Keys) ProcessedOn(day time.Time) string {
	return k.Processed + ":" + day.UTC().Format(time.DateOnly)
}

// WorkKey is the index of a shard's numbers that have tasks: a set.
func WorkKey(s message.Shard) string { return store.Key(s, "work") }

// LeasesKey is the hash of what workers have fetched of a number and not finished. A field is one fetch of a
// worker, "<worker>/<sequence>"; its value has a line for each class: the class from 0, then task ids, with
// blanks between. The tasks stay there as long as their worker has a heartbeat.
func LeasesKey(s message.Shard, number string) string { return store.Key(s, "hands:"+number) }

// HeldKey is the names of the holds that keep tasks of a number: a set. Their tasks are in lists of its name
// with a colon and the name of the hold: a class from 0, a blank and a task's id.
func HeldKey(s message.Shard, number string) string { return store.Key(s, "held:"+number) }

// RefusedKey is the tasks that a hold keeps and that caused it: a sorted set by when they were fetched.
func RefusedKey(s message.Shard, number, hold string) string {
	return store.Key(s, "refused:"+number+":"+hold)
}

// name is the asynq queue of a number's class. Asynq puts it between braces, so the queue's
// hash tag is the shard's: everything about a number is in one Cluster slot.
func name(s message.Shard, number string, c message.Class) string {
	return s.String() + "}:" + number + ":" + string(c)
}

// NumberOf returns the number of a queue's name.
func NumberOf(queue string) string {
	_, rest, _ := strings.Cut(queue, "}:")
	number, _, _ := strings.Cut(rest, ":")
	return number
}

// TaskID names a task: the K-th of a message.
type TaskID struct {
	Message string
	K       int
}

// String returns the id of the task in asynq.
func (t TaskID) String() string { return t.Message + "." + strconv.Itoa(t.K) }

// ParseTaskID reads what String returns; false: the id is none of ours.
func ParseTaskID(s string) (TaskID, bool) {
	id, rest, found := strings.Cut(s, ".")
	k, err := strconv.Atoi(rest)
	return TaskID{id, k}, found && err == nil
}

// WholeSecond rounds a time up: asynq counts in whole seconds.
func WholeSecond(at time.Time) time.Time { return at.Add(time.Second - 1).Truncate(time.Second) }
