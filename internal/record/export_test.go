package record

import "reflect"

// MaxSteps and MaxOthers are the limits of a record's lists.
const (
	MaxSteps  = maxSteps
	MaxOthers = maxOthers
)

// Same reports whether two records are equal except for the length of their stored forms.
func Same(a, b Record) bool {
	a.size, b.size = 0, 0
	return reflect.DeepEqual(a, b)
}

// Unknown returns the fields of a newer version that a record has.
func Unknown(r Record) []byte { return r.unknown }

// Forget resets the length of a record's stored form.
func (r *Record) Forget() { r.size = 0 }

// Appended returns the record as it is after an entry of Begun was appended to it, alone.
func (r Record) Appended(entry []byte) Record {
	r.size += len(entry)
	return r
}
