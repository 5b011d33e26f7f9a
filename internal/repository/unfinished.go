package repository

import (
	"context"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/send"
)

// Unfinished returns a function for the sweeper: it gives what workers of some shards have fetched and
// not finished. It first returns tasks to their queues that have this worker's name and that
// server does not know.
func Unfinished(tasks *queue.Client, server *dispatch.Server) func(context.Context, []message.Shard) ([]send.Hand, error) {
	return func(ctx context.Context, shards []message.Shard) ([]send.Hand, error) {
		all, err := tasks.Fetches(ctx, shards...)
		if err == nil {
			err = tasks.Return(ctx, server.Strays(all))
		}
		out := make([]send.Hand, len(all))
		for i, f := range all {
			out[i] = send.Hand{
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
