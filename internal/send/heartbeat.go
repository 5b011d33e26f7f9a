package send

import (
	"sync"
	"time"

	"sluice/internal/message"
)

// clockJump is how far a server's clock may move away from this worker's monotonic clock between two heartbeats: a
// larger step means that the clock was set, or that another server answers.
const clockJump = time.Second

// ShardView says since when this worker's view of a shard is reliable. A time is zero while it is not.
type ShardView struct {
	Unbroken time.Time // its heartbeats had no gap, and the server's clock did not jump: a worker without heartbeats is dead
	Steady   time.Time // the server's clock did not jump: ages by it are right
}

// loss is what the heartbeats show about lost writes of a server.
type loss struct {
	proven bool          // the server lacked a heartbeat that it had answered
	deep   bool          // it lost more than this worker remembers, or an unknown amount
	depth  time.Duration // how much, at least; 0: unknown
}

// shardHeartbeats has this worker's heartbeats in one shard. The zero value is ready; it is safe for concurrent use.
type shardHeartbeats struct {
	mu    sync.Mutex
	n     int64               // of the last heartbeat
	sent  map[int64]time.Time // when the answered heartbeats of the last minutes were sent
	last  int64               // the number of the latest one
	at    time.Time           // when it was answered
	clock time.Time           // the server's clock at that time
	view  ShardView
	loss  loss // not replayed yet
	era   int64
}

// next returns the next heartbeat.
func (h *shardHeartbeats) next(p message.Heartbeat) message.Heartbeat {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	p.N, p.Answered = h.n, h.last
	return p
}

// answered processes the answer to a heartbeat that was sent at a time. Dropped is when the latest attempt began that
// this worker no longer remembers; zero: none.
func (h *shardHeartbeats) answered(p message.Heartbeat, epoch message.Epoch, sent, dropped time.Time) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch.Err != nil {
		h.view.Unbroken = time.Time{}
		return
	}
	jumped := !h.clock.IsZero() && (epoch.Now.Sub(h.clock)-now.Sub(h.at)).Abs() > clockJump+now.Sub(sent)
	if h.view.Steady.IsZero() || jumped {
		h.view.Steady = now
	}
	if h.view.Unbroken.IsZero() || jumped || now.Sub(h.at) > 2*heartbeatEvery {
		h.view.Unbroken = now
	}
	if epoch.Kept < p.Answered {
		kept, known := h.sent[epoch.Kept]
		h.loss.proven = true
		if known {
			h.loss.depth = max(h.loss.depth, h.sent[p.Answered].Sub(kept))
		}
		h.loss.deep = h.loss.deep || !known || h.loss.depth > rememberFor || dropped.After(kept)
	}
	if p.N < h.last {
		return
	}
	h.at, h.clock, h.last = now, epoch.Now, p.N
	if h.sent == nil {
		h.sent = map[int64]time.Time{}
	}
	h.sent[p.N] = sent
	for n, at := range h.sent {
		if sent.Sub(at) > 2*rememberFor {
			delete(h.sent, n)
		}
	}
}

// lost returns what the server lost since the last replay.
func (h *shardHeartbeats) lost() loss {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.loss
}

// replayed marks a loss as handled. After a loss, another era begins.
func (h *shardHeartbeats) replayed(lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loss = (loss{}); lost {
		h.era++
	}
}

func (h *shardHeartbeats) current() ShardView {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view
}

// allHeartbeats has those of all shards.
type allHeartbeats struct{ shards sync.Map } // shard -> *shardHeartbeats

func (h *allHeartbeats) of(s message.Shard) *shardHeartbeats {
	v, _ := h.shards.LoadOrStore(s, &shardHeartbeats{})
	return v.(*shardHeartbeats)
}

// Era returns how often this worker found that a shard lost writes. A task that was fetched in another era goes back
// to its queue, because the hold that the loss required was not set when the task was fetched.
func (s *Sender) Era(shard message.Shard) int64 {
	h := s.shardBeats.of(shard)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.era
}

// View returns since when this worker's view of a shard is reliable.
func (s *Sender) View(shard message.Shard) ShardView { return s.shardBeats.of(shard).current() }
