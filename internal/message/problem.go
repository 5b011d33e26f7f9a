package message

import "fmt"

// Problem is one thing wrong with a request. It never repeats what the caller wrote: that
// may be private, and it may be long.
type Problem struct {
	Path   string `json:"path"`   // where: "message.interactive.action.buttons[3].reply.title"; empty: the request as a whole
	Code   string `json:"code"`   // stable, for programs: "button_title_too_long"
	Detail string `json:"detail"` // the rule and its limit
	Fix    string `json:"fix"`    // what to do about it
}

// maxProblems bounds an answer: a body of 256 KiB has room for thousands of mistakes, and
// nobody mends more than a few at a time.
const maxProblems = 20

// report collects the first problems of one object.
type report struct{ problems []Problem }

func (r *report) add(p Problem) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, p)
	}
}

// limit is a rule of Meta's for one string. Its length is counted in code points.
type limit struct {
	what     string // what people call it: "button title"
	code     string // begins its codes: <code>_empty and <code>_too_long
	max      int
	optional bool // may be absent or empty; else it must have more than white space
}

func (l limit) empty() (code, detail, fix string) {
	return l.code + "_empty",
		fmt.Sprintf("The %s is missing or blank.", l.what),
		fmt.Sprintf("Give it 1 to %d characters.", l.max)
}

func (l limit) tooLong(length int) (code, detail, fix string) {
	return l.code + "_too_long",
		fmt.Sprintf("The %s has %d characters; at most %d are allowed.", l.what, length, l.max),
		fmt.Sprintf("Shorten it to %d characters. Each Unicode code point counts as one.", l.max)
}
