package jsondoc

import "iter"

// Kind is the JSON type of a value.
type Kind uint8

// The kinds. Absent is the kind of a member that does not exist.
const (
	Absent Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// Value is a value of a Doc. It is valid until the Doc reads another text or is reset. The zero Value is absent.
type Value struct {
	doc *Doc
	at  int32
}

func (v Value) entry() *entry { return &v.doc.entries[v.at] }

// Kind returns the JSON type of v.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Absent
	}
	return v.entry().kind
}

// Present reports whether v exists and is not null. Meta and Sluice treat null like absent.
func (v Value) Present() bool { return v.Kind() > Null }

// Get returns the member with the name. It is absent if there is no such member, or v is not an object.
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

// Text returns the decoded text of a string. It is false when v is not a string.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return v.doc.read(v.entry().text), true
}

// Number returns a number as written. It is false when v is not a number.
func (v Value) Number() (string, bool) {
	if v.Kind() != Number {
		return "", false
	}
	return v.Raw(), true
}

// True reports whether v is true.
func (v Value) True() bool { return v.Kind() == Bool && v.Raw() == "true" }

// Raw returns v as written. It is empty when v is absent or was set by a caller.
func (v Value) Raw() string {
	if v.doc == nil {
		return ""
	}
	return v.doc.read(v.entry().value)
}

// Start returns the position of v in the text, in bytes. It panics when v is absent.
func (v Value) Start() int { return int(v.entry().value.start) }

// Len returns the number of members or elements of v.
func (v Value) Len() int {
	if v.doc == nil {
		return 0
	}
	return int(v.entry().count)
}

// Members yields the names and values of the members of an object, in the order of the text. It yields
// nothing when v is not an object.
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

// Elements yields the indexes and elements of an array. It yields nothing when v is not an array.
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

// AnyName reports whether f is true for the name of any member in v, at any depth.
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

// SetText makes v a string with the text s. Raw still returns the original. It panics when v is absent, or has
// members or elements.
func (v Value) SetText(s string) {
	e := v.entry()
	if e.count > 0 {
		panic("jsondoc: SetText of a value with members or elements")
	}
	e.kind, e.text = String, v.doc.keep(s)
}

// AddText adds a string member to the outermost object. An empty Doc becomes an object first. It does not
// check for duplicates, and panics when the outermost value is not an object.
func (d *Doc) AddText(name, text string) {
	d.add(entry{kind: String, name: d.keep(name), text: d.keep(text)})
}

// AddTexts adds a member that is an array of strings, like AddText.
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
		panic("jsondoc: a member is added to a value that is not an object")
	}
	e.after = int32(len(d.entries) + 1)
	d.entries = append(d.entries, e)
	d.entries[0].count++
	d.entries[0].after = e.after
}
