// Package repository joins the stored records of messages with their tasks in the queue: it changes both in one
// transaction, and it answers questions that need both.
package repository

import (
	"context"
	"slices"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// Messages are the stored messages with their tasks. It is safe for concurrent use.
type Messages struct {
	*ledger.Ledger
	tasks *queue.Client
}

// New returns the messages with these records and tasks.
func New(records *ledger.Ledger, tasks *queue.Client) *Messages { return &Messages{records, tasks} }

// Move changes a message's state, and adds the next task if the message is queued again: both or neither, also on a
// full Redis. It returns whether it changed the message.
func (ms *Messages) Move(ctx context.Context, o message.Open, m message.Move) (bool, error) {
	if m.To != message.Queued {
		return ms.Sweep(ctx, o, m)
	}
	task := taskOf(o)
	task.K++
	if m.In > 0 {
		task.At = ms.Clock(ctx, o.ID).Add(m.In)
	}
	return ms.Ledger.Move(ctx, o, m, func(w *store.Writes) error { return ms.tasks.Enqueue(w, task) })
}

// Requeue is Move for callers that do not need the result.
func (ms *Messages) Requeue(ctx context.Context, o message.Open, m message.Move) error {
	_, err := ms.Move(ctx, o, m)
	return err
}

// WithoutTask returns the messages that are queued and whose task is missing. It reuses the slice.
func (ms *Messages) WithoutTask(ctx context.Context, some []message.Open) ([]message.Open, error) {
	some = slices.DeleteFunc(some, func(o message.Open) bool { return o.State != message.Queued })
	all := make([]queue.Task, len(some))
	for i, o := range some {
		all[i] = taskOf(o)
	}
	missing, err := ms.tasks.Missing(ctx, all)
	gone := make([]message.Open, len(missing))
	for i, m := range missing {
		gone[i] = some[m]
	}
	return gone, err
}

// taskOf returns the latest task of a message.
func taskOf(o message.Open) queue.Task {
	return queue.Task{ID: o.ID, K: o.K, Number: o.Message.From, Class: o.Message.Class, Flow: o.Message.Flow()}
}

// AddTask returns a function that adds to w the task of a message that is queued again, see ledger.Options.Due.
func AddTask(tasks *queue.Client) func(w *store.Writes, o message.Open) error {
	return func(w *store.Writes, o message.Open) error { return tasks.Enqueue(w, taskOf(o)) }
}

// DropTask adds to w the deletion of the task of a message that no longer needs it.
func DropTask(w *store.Writes, s message.Shard, o message.Open) { queue.Drop(w, s, taskOf(o)) }
