package repository

import (
	"context"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/send"
)

// Unfinished returns a function for the sweeper, which returns the tasks that workers of some shards have fetched and
// not finished. First it returns those tasks to their queues that have the name of this worker and that server does not
// know.
func Unfinished(tasks *queue.Client, server *dispatch.Server) func(context.Context, []message.Shard) ([]send.FetchedTasks, error) {
	return func(ctx context.Context, shards []message.Shard) ([]send.FetchedTasks, error) {
		all, err := tasks.Fetches(ctx, shards...)
		if err == nil {
			err = tasks.Return(ctx, server.Strays(all))
		}
		out := make([]send.FetchedTasks, len(all))
		for i, f := range all {
			out[i] = send.FetchedTasks{
				Worker: f.Worker, Shard: f.Shard, IDs: make([]string, len(f.Tasks)),
				Return: func(ctx context.Context) error { return tasks.Return(ctx, []queue.Fetch{f}) },
			}
			for j, t := range f.Tasks {
				out[i].IDs[j] = t.Message
			}
		}
		return out, err
	}
}
