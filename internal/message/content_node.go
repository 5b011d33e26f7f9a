package message

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// node is a place in Meta's object: a value and the path that leads there. What is absent
// and what is null are both a node without a value, so rules need not ask at every step.
type node struct {
	value  any
	path   string
	report *report
}

// get returns the member of that name.
func (n node) get(name string) node {
	members, _ := n.value.(map[string]any)
	path := name
	if n.path != "" {
		path = n.path + "." + name
	}
	return node{members[name], path, n.report}
}

func (n node) present() bool { return n.value != nil }

// object tells whether n is an object, and reports it when it is something else.
func (n node) object() bool {
	_, ok := n.value.(map[string]any)
	if !ok && n.present() {
		n.mismatch("an object")
	}
	return ok
}

// items returns the elements of an array: none when it is absent or something else. It
// reports that, and elements that are null.
func (n node) items() []node {
	array, ok := n.value.([]any)
	if !ok && n.present() {
		n.mismatch("an array")
	}
	nodes := make([]node, len(array))
	for i, value := range array {
		nodes[i] = node{value, n.path + "[" + strconv.Itoa(i) + "]", n.report}
		if value == nil {
			nodes[i].mismatch("something, not null")
		}
	}
	return nodes
}

// text returns a string, an empty one when there is none. It is false for what is no
// string, and reports it.
func (n node) text() (s string, ok bool) {
	s, ok = n.value.(string)
	if !ok && n.present() {
		n.mismatch("a string")
		return "", false
	}
	return s, true
}

// within returns a string that must keep to a limit; empty when it does not exist.
func (n node) within(l limit) string {
	s, ok := n.text()
	if length := utf8.RuneCountInString(s); length > l.max {
		n.refuse(l.tooLong(length))
	} else if ok && !l.optional && strings.TrimSpace(s) == "" {
		n.refuse(l.empty())
	}
	return s
}

// boolean reports what is there and is neither true nor false.
func (n node) boolean() {
	if _, ok := n.value.(bool); !ok && n.present() {
		n.mismatch("true or false")
	}
}

func (n node) mismatch(want string) {
	n.refuse("type_mismatch", "This must be "+want+".", "Change its JSON type.")
}

func (n node) refuse(code, detail, fix string) {
	n.report.add(Problem{n.path, code, detail, fix})
}

// between returns the elements of an array whose number must lie in a range; it reports a
// number that does not as <code>_missing or <code>_too_many.
func (n node) between(least, most int, code, what string) []node {
	items := n.items()
	if _, ok := n.value.([]any); ok || !n.present() {
		n.refuseCount(len(items), least, most, code, what)
	}
	return items
}

func (n node) refuseCount(count, least, most int, code, what string) {
	detail := fmt.Sprintf("%d to %d %s are allowed; there are %d.", least, most, what, count)
	if count < least {
		n.refuse(code+"_missing", detail, fmt.Sprintf("Give at least %d.", least))
	} else if count > most {
		n.refuse(code+"_too_many", detail, fmt.Sprintf("Remove all but %d.", most))
	}
}

// distinct reports a value that an earlier node of the same set had.
func (n node) distinct(seen map[string]bool, value, code, what string) {
	if value != "" && seen[value] {
		n.refuse(code, "Each "+what+" must differ from the others of the message.", "Give it a value of its own.")
	}
	seen[value] = true
}
