package message

import "sluice/internal/jsondoc"

// Problem is one thing wrong with a request. It never repeats what the caller wrote: that
// may be private, and it may be long.
type Problem struct {
	Path   string `json:"path" doc:"The place of the mistake, for example message.interactive.action.buttons[3].reply.title. Empty: the whole request."`
	Code   string `json:"code" doc:"What is wrong, for programs, for example button_title_too_long. It does not change between versions."` // Rules has those of this room
	Detail string `json:"detail" doc:"What is wrong, and the rule."`
	Fix    string `json:"fix" doc:"What to do."`
}

// maxProblems bounds an answer: a body of 256 KiB has room for thousands of mistakes, and
// nobody mends more than a few at a time.
const maxProblems = 20

// report collects the first problems of one object. Objects are read twice at most: the
// first time, which is the only one for an object in order, without keeping track of paths.
type report struct {
	paths    bool // whether problems are wanted, with their paths
	found    bool
	problems []Problem
}

func (r *report) add(p Problem) {
	r.found = true
	if r.paths && len(r.problems) < maxProblems {
		r.problems = append(r.problems, p)
	}
}

// inspect reads an object and returns its problems, nil without any. read must see the same
// each time.
func inspect(object jsondoc.Value, read func(root node)) []Problem {
	var quick report
	if read(node{value: object, report: &quick}); !quick.found {
		return nil
	}
	full := report{paths: true}
	read(node{value: object, report: &full})
	return full.problems
}
