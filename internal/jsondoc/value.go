package jsondoc

import "iter"

// Kind is what a value is.
type Kind uint8

// The kinds. Absent is what Value.Get returns for a member that is not there.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// Value is a value of a Doc. It is good until the Doc is read into again. The zero Value is
// absent.
type Value struct {
	doc *Doc
	at  int32
}

func (v Value) entry() *entry { return &v.doc.entries[v.at] }

// Kind returns what v is.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Absent
	}
	return v.entry().kind
}

// Present reports whether v is there and is not null: to Meta and to us null is as good as absent.
func (v Value) Present() bool { return v.Kind() > Null }

// Get returns the member of that name; an absent Value without it, or when v is not an object.
func (v Value) Get(name string) Value {
	if v.Kind() != Object {
		return Value{}
	}
	d, i := v.doc, v.at+1
	for range v.entry().count {
		e := &d.entries[i]
		if s := e.name; s.end < 0 || int(s.end-s.start) == len(name) {
			if d.read(s) == name {
				return Value{d, i}
			}
		}
		i = e.after
	}
	return Value{}
}

// Text returns what a string reads as; false when v is not a string.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return v.doc.read(v.entry().text), true
}

// Number returns a number as it was written; false when v is not a number.
func (v Value) Number() (string, bool) {
	if v.Kind() != Number {
		return "", false
	}
	return v.Raw(), true
}

// True reports whether v is true.
func (v Value) True() bool { return v.Kind() == Bool && v.Raw() == "true" }

// Raw returns v as it was written; nothing when it was not: it is absent, or set by a caller.
func (v Value) Raw() string {
	if v.doc == nil {
		return ""
	}
	return v.doc.read(v.entry().value)
}

// Len returns how many members or elements v has.
func (v Value) Len() int {
	if v.doc == nil {
		return 0
	}
	return int(v.entry().count)
}

// Members yields the members of an object with their names, in the order of the text; nothing
// when v is not an object.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		i := v.at + 1
		for range v.entry().count {
			e := &v.doc.entries[i]
			if !yield(v.doc.read(e.name), Value{v.doc, i}) {
				return
			}
			i = e.after
		}
	}
}

// Elements yields the elements of an array with their indexes; nothing when v is not an array.
func (v Value) Elements() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		if v.Kind() != Array {
			return
		}
		i := v.at + 1
		for n := range int(v.entry().count) {
			if !yield(n, Value{v.doc, i}) {
				return
			}
			i = v.doc.entries[i].after
		}
	}
}

// AnyName reports whether f is true of the name of any member in v, at any depth.
func (v Value) AnyName(f func(name string) bool) bool {
	if v.doc == nil {
		return false
	}
	d := v.doc
	for i := v.at + 1; i < v.entry().after; i++ {
		if s := d.entries[i].name; s.start != s.end && f(d.read(s)) {
			return true
		}
	}
	return false
}

// SetText makes v a string that reads as s. Raw still returns what was written. It panics when
// v is absent.
func (v Value) SetText(s string) {
	e := v.entry()
	if e.count > 0 {
		panic("jsondoc: SetText of a value that has values in it")
	}
	e.kind, e.text = String, v.doc.keep(s)
}

// AddText adds a member to the outermost object, which an empty Doc gets with its first member.
// It does not look whether there is one of that name, and panics when the outermost value is
// something else than an object.
func (d *Doc) AddText(name, text string) {
	d.add(entry{kind: String, name: d.keep(name), text: d.keep(text)})
}

// AddTexts is AddText for a member that is an array of strings.
func (d *Doc) AddTexts(name string, texts []string) {
	list := len(d.entries)
	if list == 0 {
		list = 1
	}
	d.add(entry{kind: Array, name: d.keep(name), count: int32(len(texts))})
	for _, t := range texts {
		d.entries = append(d.entries, entry{kind: String, text: d.keep(t), after: int32(len(d.entries) + 1)})
	}
	d.entries[list].after = int32(len(d.entries))
	d.entries[0].after = int32(len(d.entries))
}

func (d *Doc) add(e entry) {
	if len(d.entries) == 0 {
		d.entries = append(d.entries, entry{kind: Object})
	}
	if d.entries[0].kind != Object {
		panic("jsondoc: a member is added to what is not an object")
	}
	e.after = int32(len(d.entries) + 1)
	d.entries = append(d.entries, e)
	d.entries[0].count++
	d.entries[0].after = e.after
}
