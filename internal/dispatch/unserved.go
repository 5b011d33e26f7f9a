package dispatch

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

const (
	// unservedEvery is how often a worker tidies up a number that is not configured, and unservedLog how
	// often the log names it.
	unservedEvery = 10 * time.Second
	unservedLog   = 10 * time.Minute
	// goneMost is how many entries of a list one call reads, and goneCalls how many calls are made for a
	// list at a time.
	goneMost  = 500
	goneCalls = 20
)

// unserved is a number that has tasks and is not configured here.
type unserved struct {
	since          time.Time // when it was first seen so
	tidied, logged time.Time
	offsets        map[string]int64 // by list: up to where it was read
}

// tidyUnserved tidies up the numbers that have tasks and that this worker does not know. Their messages
// wait for their deadlines, or until the number is configured again; what belongs to messages that have
// ended is removed, and at last the number itself. One worker does so: the one that would serve the number.
// It does no harm where others serve it.
func (d *dispatcher) tidyUnserved(ctx context.Context, numbers []string) {
	seen := map[string]bool{}
	for _, id := range numbers {
		if _, known := d.o.Rate(id); known || !message.IsNumberID(id) || !d.joined(d.o.Shards.Of(id)) || !d.first(id) {
			continue
		}
		seen[id] = true
		u := d.unserved[id]
		if u == nil {
			u = &unserved{since: time.Now(), offsets: map[string]int64{}}
			d.unserved[id] = u
		}
		if time.Since(u.tidied) < unservedEvery {
			continue
		}
		u.tidied = time.Now()
		waiting, err := d.tidyGone(ctx, id, u)
		if err != nil && ctx.Err() == nil {
			d.o.Log.Warn("cannot clean up the queues of a number that is not configured", "phone_number_id", id, "err", err)
		}
		if err == nil && waiting > 0 && time.Since(u.logged) >= unservedLog {
			u.logged = time.Now()
			d.o.Log.Warn("messages wait for a number that is not configured or has no access token, and are not sent", "phone_number_id", id, "messages", waiting)
		}
	}
	for id, u := range d.unserved {
		// Not at once: in a rolling restart another worker may know it.
		if _, known := d.o.Rate(id); !seen[id] && !known && time.Since(u.since) > unservedLog {
			d.forgetQueues(ctx, id)
		}
		if !seen[id] {
			delete(d.unserved, id)
		}
	}
}

// tidyGone removes tasks that do not exist any more from a number's lists, and the number from the index of
// work when nothing is left. It returns how many tasks wait, of those that it read.
func (d *dispatcher) tidyGone(ctx context.Context, id string, u *unserved) (waiting int64, err error) {
	s := d.o.Shards.Of(id)
	holds, err := d.db.SMembers(ctx, queue.HeldKey(s, id)).Result()
	if err != nil {
		return 0, err
	}
	lists := holds
	for c := range message.Classes() {
		lists = append(lists, strconv.Itoa(c))
		clients, err := d.db.ZRange(ctx, queue.FlowsOf(s, id, c), 0, -1).Result()
		for _, client := range clients {
			var campaigns []string
			if err == nil {
				campaigns, err = d.db.ZRange(ctx, queue.CampaignsOf(s, id, c, client), 0, -1).Result()
			}
			for _, campaign := range campaigns {
				if f := (message.Flow{Client: client, Campaign: campaign}); f != (message.Flow{}) {
					lists = append(lists, strconv.Itoa(c)+"\t"+f.String())
				}
			}
		}
		if err != nil {
			return 0, err
		}
	}
	for _, list := range lists {
		length := int64(0)
		for range goneCalls {
			reply, err := d.db.Run(ctx, d.gone, []string{ratelimit.ScheduleKey(s, id)}, list, u.offsets[list], goneMost).Int64Slice()
			if err != nil || len(reply) < 2 {
				return 0, fmt.Errorf("remove deleted tasks from lists: %w", err)
			}
			length = reply[1]
			if u.offsets[list] += reply[0]; u.offsets[list] >= length {
				u.offsets[list] = 0
				break
			}
		}
		waiting += length
	}
	return waiting, d.db.Run(ctx, d.tidy, []string{ratelimit.ScheduleKey(s, id)}, tidyMost, tidyMost, tidyMost).Err()
}

// forgetQueues removes the queues of a number from asynq's list of queues, if it has no work any more.
func (d *dispatcher) forgetQueues(ctx context.Context, id string) {
	s := d.o.Shards.Of(id)
	if has, err := d.db.SIsMember(ctx, queue.WorkKey(s), id).Result(); err != nil || has {
		return
	}
	for _, c := range message.Classes() {
		if err := d.db.SRem(ctx, queue.QueuesKey, queue.KeysOf(s, id, c).Queue).Err(); err != nil {
			d.o.Log.Warn("cannot remove a queue from asynq", "phone_number_id", id, "err", err)
			return
		}
	}
	d.o.Log.Info("no messages wait any more for a number that is not configured", "phone_number_id", id)
}
