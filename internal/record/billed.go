package record

// Bill notes for which category Meta charges the message, and returns whether the record changed: the first report counts. Empty: the
// report says nothing. Messages without a client are not counted.
func (r *Record) Bill(category string) bool {
	if category == "" || r.Billed != "" || r.Client == "" || r.Tombstone() {
		return false
	}
	r.Billed = category
	return true
}
