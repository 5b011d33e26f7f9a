package content

import (
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
