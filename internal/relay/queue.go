package relay

import (
	"container/heap"
	"time"
)

// queue puts a group where it waits for its next request, or forgets it if it is empty.
func (c *courier) queue(g *group, now time.Time) {
	switch {
	case g.busy || g.queue != queueNone:
	case len(g.items) == 0:
		delete(g.part.groups, g.name)
	case g.items[0].next.After(now):
		g.queue = queueWaiting
		heap.Push(&c.waiting, g)
	default:
		g.queue = queueReady
		c.ready = append(c.ready, g)
	}
}

// unqueue takes a group out of its queue.
func (c *courier) unqueue(g *group) {
	switch g.queue {
	case queueWaiting:
		heap.Remove(&c.waiting, g.index)
	case queueReady:
		for i, other := range c.ready {
			if other == g {
				c.ready = append(c.ready[:i], c.ready[i+1:]...)
				break
			}
		}
	}
	g.queue = queueNone
}

// waitingGroups is a heap of groups by their next tries.
type waitingGroups []*group

func (w waitingGroups) Len() int           { return len(w) }
func (w waitingGroups) Less(i, j int) bool { return w[i].items[0].next.Before(w[j].items[0].next) }

func (w waitingGroups) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push adds a group, for container/heap.
func (w *waitingGroups) Push(g any) {
	g.(*group).index = len(*w)
	*w = append(*w, g.(*group))
}

// Pop removes the last group, for container/heap.
func (w *waitingGroups) Pop() any {
	last := len(*w) - 1
	g := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return g
}
