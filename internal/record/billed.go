package record

import "sluice/internal/message"

// Bill notes what Meta charges for the message, and returns whether the record changed: the first report with a charge counts. Messages
// of no client and no campaign are not counted.
func (r *Record) Bill(c message.Charge) bool {
	if r.Billed != "" || r.Flow() == (message.Flow{}) || r.Tombstone() {
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
