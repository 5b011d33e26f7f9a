package archive

import "time"

// ReclaimAfter makes an archive reclaim the entries of dead workers after d.
func (a *Archive) ReclaimAfter(d time.Duration) { a.group.dead = d }
