package relay

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
