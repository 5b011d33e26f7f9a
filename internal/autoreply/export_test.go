package autoreply

import "time"

// ReclaimAfter makes a Replier reclaim entries without an acknowledgement after d, and look for them as often.
func (r *Replier) ReclaimAfter(d time.Duration) {
	r.group, r.claimEvery = newGroup(r.db, r.o, d), d
}
