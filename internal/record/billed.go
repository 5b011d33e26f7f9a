package record

import (
	"slices"

	"sluice/internal/message"
)

// Bill notes what Meta charges for the message, by a report with an id of Meta's, and returns whether the record changed: the first report
// with a charge counts. A late one of an attempt that failed does not, or the charge for what was sent in its place would be lost. Messages of no
// client and no campaign are not counted.
func (r *Record) Bill(wamid string, c message.Charge) bool {
	late := slices.Contains(r.Refused, wamid) && !delivered(r.State)
	if late || r.Billed != "" || r.Flow() == (message.Flow{}) || r.Tombstone() {
		return false
	}
	switch {
	case c.Category != "":
		r.Billed = c.Category
		if r.Price > 0 && (c.Cost > 0 || c.Free) {
			r.Spent = c.Cost
		}
		return true
	case c.Free && r.Spent != 0:
		r.Spent = 0
		return true
	}
	return false
}
