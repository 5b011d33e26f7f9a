package backlog

import (
	"context"
	"fmt"

	"sluice/internal/holds"
	"sluice/internal/message"
)

// CountHeld counts the messages that holds keep from being sent: by hold, in the order of holds, and by phone
// number id, where a message counts once. It does not count scheduled messages and retries whose time has not come. It needs
// no round trip without holds, and two with them.
func (r *Reader) CountHeld(ctx context.Context, all []message.Hold) (byHold []int, byNumber map[string]int, err error) {
	byHold, byNumber = make([]int, len(all)), map[string]int{}
	if len(all) == 0 {
		return byHold, byNumber, nil
	}
	numbers, err := r.kept(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("count held messages: %w", err)
	}
	for number, k := range numbers {
		for i, h := range all {
			n := k.aside[holds.Name(h)]
			byNumber[number] += n
			if holds.KeepAll(all[i:i+1], number) {
				n += k.pending
			}
			byHold[i] += n
		}
		if holds.KeepAll(all, number) {
			byNumber[number] += k.pending
		}
	}
	return byHold, byNumber, nil
}

// keptTasks is what waits for a number: tasks in its queues, and those that workers have set aside for a
// hold, by the name of the hold.
type keptTasks struct {
	pending int
	aside   map[string]int
}

// kept reads what waits for each number that has tasks, in two round trips.
func (r *Reader) kept(ctx context.Context) (map[string]keptTasks, error) {
	work, err := r.workingAll(ctx)
	if err != nil {
		return nil, err
	}
	replies, err := r.eachNumber(ctx, r.held, work, func(number string) []any { return []any{number} })
	if err != nil {
		return nil, err
	}
	all := map[string]keptTasks{}
	for number, reply := range replies {
		k := keptTasks{pending: int(float(reply[0])), aside: map[string]int{}}
		for i := 1; i+1 < len(reply); i += 2 {
			k.aside[reply[i]] = int(float(reply[i+1]))
		}
		all[number] = k
	}
	return all, nil
}
