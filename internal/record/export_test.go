package record

import "reflect"

// MaxSteps and MaxOthers are the limits of a record's lists.
const (
	MaxSteps  = maxSteps
	MaxOthers = maxOthers
)

// Same tells whether two records are equal in everything but the length of their stored forms.
func Same(a, b Record) bool {
	a.size, b.size = 0, 0
	return reflect.DeepEqual(a, b)
}

// Unknown returns the fields of a newer version that a record keeps.
func Unknown(r Record) []byte { return r.unknown }

// Forget makes a record forget how long its stored form was.
func (r *Record) Forget() { r.size = 0 }

// Appended returns the record as it is after an entry of Begun was appended to it, alone.
func (r Record) Appended(entry []byte) Record {
	r.size += len(entry)
	return r
}
