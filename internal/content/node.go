package content

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// node is a place in Meta's object: a value and the path that leads there. What is absent
// and what is null are both a node without a value, so rules need not ask at every step.
type node struct {
	value  jsondoc.Value
	path   string
	report *report
}

// get returns the member of that name.
func (n node) get(name string) node {
	child := node{value: n.value.Get(name), report: n.report}
	if n.report.paths {
		child.path = strings.TrimPrefix(n.path+"."+name, ".")
	}
	return child
}

func (n node) item(i int, value jsondoc.Value) node {
	child := node{value: value, report: n.report}
	if n.report.paths {
		child.path = n.path + "[" + strconv.Itoa(i) + "]"
	}
	return child
}

func (n node) present() bool { return n.value.Present() }

func (n node) isObject() bool { return n.value.Kind() == jsondoc.Object }

func (n node) isArray() bool { return n.value.Kind() == jsondoc.Array }

// object reports whether n is an object, and reports it when it is something else.
func (n node) object() bool {
	if !n.isObject() && n.present() {
		n.mismatch("an object")
	}
	return n.isObject()
}

// neededObject is object for what may not be absent.
func (n node) neededObject(missing *Rule) bool {
	if !n.present() {
		n.refuse(missing)
	}
	return n.object()
}

// length returns the length of an array; false for what is none.
func (n node) length() (int, bool) {
	if !n.isArray() {
		return 0, false
	}
	return n.value.Len(), true
}

// objects are the elements of an array that are objects, with their index. The others are
// reported; so is what is no array.
func (n node) objects() iter.Seq2[int, node] {
	return func(yield func(int, node) bool) {
		if !n.isArray() && n.present() {
			n.mismatch("an array")
		}
		for i, value := range n.value.Elements() {
			element := n.item(i, value)
			if !element.isObject() {
				element.mismatch("an object")
			} else if !yield(i, element) {
				return
			}
		}
	}
}

// counted is objects for an array whose length is bounded.
func (n node) counted(s *span) iter.Seq2[int, node] {
	if length, ok := n.length(); ok || !n.present() {
		s.check(n, length)
	}
	return n.objects()
}

// filled reports an array that is absent or has nothing in it, and returns its length.
func (n node) filled(missing *Rule) int {
	length, ok := n.length()
	if length == 0 && (ok || !n.present()) {
		n.refuse(missing)
	}
	return length
}

// text returns a string, an empty one when there is none. It is false for what is no
// string, and reports it.
func (n node) text() (s string, ok bool) {
	s, ok = n.value.Text()
	if !ok && n.present() {
		n.mismatch("a string")
		return "", false
	}
	return s, true
}

// bare is text for what may be no string: it reports nothing.
func (n node) bare() string {
	s, _ := n.value.Text()
	return s
}

// texts reports members that are there and are no strings.
func (n node) texts(names ...string) {
	for _, name := range names {
		n.get(name).text()
	}
}

// within returns a string that must keep to a limit; empty when it does not exist.
func (n node) within(l *limit) string {
	s, ok := n.text()
	if len(s) > l.max { // there are no more code points than bytes
		if length := utf8.RuneCountInString(s); length > l.max {
			l.refuseLong(n, length)
			return s
		}
	}
	if ok && l.empty != nil && blank(s) {
		l.refuseEmpty(n)
	}
	return s
}

// word returns a string that must not be missing or blank, or else breaks the rule.
func (n node) word(missing *Rule) string {
	s, ok := n.text()
	if ok && blank(s) {
		n.refuse(missing)
	}
	return s
}

var hiddenCharacter = rule(Invalid, "character_invisible", "An id has no invisible characters.", "Remove it: it often comes along when text is copied.")

// id is word for what is copied from elsewhere and must be the same to the last character.
func (n node) id(missing *Rule) string {
	s := n.word(missing)
	if hidden := hiddenIn(s); hidden != "" && !blank(s) {
		n.refuseAs(hiddenCharacter, hidden, hiddenCharacter.Fix)
	}
	return s
}

// refuseWord is refuseAs for a word, of which an invisible character is named: people cannot see
// what is wrong with it.
func (n node) refuseWord(r *Rule, detail, fix string) {
	if hidden := hiddenIn(n.bare()); hidden != "" {
		detail, fix = detail+" "+hidden, hiddenCharacter.Fix
	}
	n.refuseAs(r, detail, fix)
}

// hiddenIn names the first character of s that people do not see; empty: there is none.
func hiddenIn(s string) string {
	for _, r := range s {
		if r < ' ' || r > '~' && (!unicode.IsPrint(r) || strings.ContainsRune(blankLetters, r)) {
			return fmt.Sprintf("This has the invisible character U+%04X.", r)
		}
	}
	return ""
}

// blankLetters are letters and symbols by their category, and look like nothing.
const blankLetters = "\u034f\u115f\u1160\u2800\u3164\uffa0"

// boolean reports what is there and is neither true nor false.
func (n node) boolean() {
	if n.value.Kind() != jsondoc.Bool && n.present() {
		n.mismatch("true or false")
	}
}

// oneOf returns the one of several values that a string is, but for its case, which does not matter to Meta
// either. Absent is not one of them, but is left to the caller.
func (n node) oneOf(values ...string) string {
	s, ok := n.text()
	if !ok || !n.present() {
		return s
	}
	for _, v := range values {
		if strings.EqualFold(v, s) {
			return v
		}
	}
	n.refuseAs(notAllowed, "The value must be "+list(values)+".", "Give it as Meta writes it.")
	return s
}

// neededOneOf is oneOf for what may not be absent.
func (n node) neededOneOf(values ...string) string {
	if !n.present() {
		n.refuseAs(noValue, "The member is missing; it must be "+list(values)+".", noValue.Fix)
		return ""
	}
	return n.oneOf(values...)
}

// list writes "a", "a or b", "a, b or c".
func list(values []string) string {
	last := len(values) - 1
	if last == 0 {
		return values[0]
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// whole returns a whole number in a range, and otherwise breaks the rule; so does what is
// absent.
func (n node) whole(least, most int64, broken *Rule) (int64, bool) {
	number, err := strconv.ParseInt(n.numeral(), 10, 64)
	if err != nil || number < least || number > most {
		n.refuse(broken)
		return 0, false
	}
	return number, true
}

// numeral returns a number as it was written, be it a number or a string: some of Meta's pages
// write numbers as strings. A string must read as a number of JSON does; others, like "+5" or
// "0x1F", only some programming languages read. It is empty for what is no number.
func (n node) numeral() string {
	if number, ok := n.value.Number(); ok {
		return number
	}
	if s := n.bare(); jsondoc.IsNumber(s) {
		return s
	}
	return ""
}

// distinct reports a value that an earlier node of the same set had.
func (n node) distinct(seen map[string]bool, value string, twice *Rule) {
	if value != "" && seen[value] {
		n.refuse(twice)
	}
	seen[value] = true
}

func (n node) mismatch(want string) {
	n.report.embed(n.value)
	n.refuseAs(wrongType, "This must be "+want+".", wrongType.Fix)
}

func (n node) refuse(r *Rule) { n.refuseAs(r, r.Detail, r.Fix) }

// refuseAs says a rule more exactly than the list does.
func (n node) refuseAs(r *Rule, detail, fix string) {
	n.report.add(message.Problem{Path: n.path, Code: r.Code, Detail: detail, Fix: fix})
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }
