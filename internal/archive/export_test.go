package archive

import "time"

// ReclaimAfter makes an archive reclaim the entries of dead workers after d, and look for them as often.
func (a *Archive) ReclaimAfter(d time.Duration) {
	a.group, a.claimEvery = newGroup(a.db, a.o, d), d
}
