package content

import (
	"strings"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// maxProblems bounds an answer: a body of 256 KiB has room for thousands of mistakes, and
// nobody mends more than a few at a time.
const maxProblems = 20

// report collects the first problems of one object. Objects are read twice at most: the
// first time, which is the only one for an object in order, without keeping track of paths.
type report struct {
	paths    bool // whether problems are wanted, with their paths
	found    bool
	problems []message.Problem
	embedded []jsondoc.Value // see Embedded
}

func (r *report) add(p message.Problem) {
	r.found = true
	if r.paths && len(r.problems) < maxProblems {
		r.problems = append(r.problems, p)
	}
}

// inspect reads an object and returns its problems, nil without any. read must see the same
// each time.
func inspect(object jsondoc.Value, read func(root node)) []message.Problem {
	var quick report
	if read(node{value: object, report: &quick}); !quick.found {
		return nil
	}
	full := report{paths: true}
	read(node{value: object, report: &full})
	return full.problems
}

// embed notes a string that is where another JSON type belongs and has the text of an object or an array.
func (r *report) embed(v jsondoc.Value) {
	s, _ := v.Text()
	if s = strings.TrimSpace(s); r.paths && (strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")) {
		r.embedded = append(r.embedded, v)
	}
}

// Embedded returns the strings of a message or a mark that have the JSON text of an object or an array, where
// Meta's object has an object or an array. Meta decodes them, and so do forms and some libraries write them.
func Embedded(object jsondoc.Value) []jsondoc.Value {
	full := report{paths: true}
	root := node{value: object, report: &full}
	if IsMark(object) {
		root.mark()
	} else {
		root.content()
	}
	return full.embedded
}
