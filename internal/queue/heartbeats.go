package queue

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// heartbeats sends the heartbeats of asynq's server, which only asynq's tools read, without the server waiting
// for them: while it waits, three round trips every 5 s, it starts and ends no task. The server waits for the
// first heartbeat, because it must bring its script. When Redis is slower than the heartbeats, some are left
// out.
type heartbeats struct {
	mu    sync.Mutex
	known bool                 // Redis has the script
	lists map[string][]redis.Z // the entries in asynq's lists of servers that are sent with the next heartbeat
	busy  bool
	sent  sync.WaitGroup
}

// list keeps an entry of asynq's lists of servers for the next heartbeat; false: it must be written at once.
func (h *heartbeats) list(key string, members []redis.Z) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return false
	}
	if h.lists == nil {
		h.lists = map[string][]redis.Z{}
	}
	h.lists[key] = members
	return true
}

// learn notes whether Redis has the script.
func (h *heartbeats) learn(known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = known
}

// send sends a heartbeat; false: the server must wait for it.
func (h *heartbeats) send(ctx context.Context, c redis.UniversalClient, sha string, keys []string, args []any) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return false
	}
	lists := h.lists
	h.lists = nil
	if h.busy {
		return true
	}
	h.busy = true
	h.sent.Go(func() {
		for key, members := range lists {
			c.ZAdd(ctx, key, members...)
		}
		err := c.EvalSha(ctx, sha, keys, args...).Err()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.busy = false
		h.known = err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") // the next one brings it again
	})
	return true
}
