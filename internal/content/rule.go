package content

import (
	"fmt"
	"slices"
	"strings"
)

// Breach says in which way a message breaks a rule. There are three, as Meta has three error
// codes for them.
type Breach string

const (
	Missing   Breach = "missing"   // something required is absent or blank
	Malformed Breach = "malformed" // not the JSON that Meta describes: a string where an object belongs
	Invalid   Breach = "invalid"   // a value that Meta does not take: too long, too many, unknown, at odds with another
)

// Rule is one rule of Meta's for messages. Every message.Problem of Check, CheckMark and CheckTemplate is a
// breach of one of Rules, and has its code.
type Rule struct {
	Code   string // stable: rules come, but a code that was published keeps its meaning
	Breach Breach
	Detail string // the rule; a message.Problem may say it more exactly, with the number it counted
	Fix    string // what to do about it

	Declared bool // it is about Meta's description of a template; see CheckTemplate
}

// rules are all rules, in the order of their files.
var rules []Rule

// Rules returns every rule there is, each code once, sorted by code.
func Rules() []Rule {
	return slices.SortedFunc(slices.Values(rules), func(a, b Rule) int { return strings.Compare(a.Code, b.Code) })
}

// rule adds one to the list; it is for variables of this package.
func rule(b Breach, code, detail, fix string) *Rule {
	r := Rule{Code: code, Breach: b, Detail: detail, Fix: fix}
	rules = append(rules, r)
	return &r
}

// Rules that hold in many places. Where they are broken they say what would be right.
var (
	jsonInvalid = rule(Malformed, "json_invalid", "The message is not valid JSON.", "Send Meta's message object.")
	wrongType   = rule(Malformed, "type_mismatch", "The member has another JSON type than Meta's.", "Change its JSON type.")
	noValue     = needed("value_missing", "The member is missing.", "Add it.")
	notAllowed  = rule(Invalid, "value_not_allowed", "The value is none of those that Meta takes here.", "Give one of them.")
)

// limit is a rule of Meta's for the length of one string, in code points.
type limit struct {
	what    string // what people call it: "button title"
	max     int
	tooLong *Rule
	empty   *Rule // of a string that must have more than white space; nil: it may be absent or empty
}

// atMost makes the limit of a string that may be absent.
func atMost(max int, code, what string) *limit {
	return &limit{
		what: what, max: max,
		tooLong: rule(Invalid, code+"_too_long",
			fmt.Sprintf("The %s has at most %d characters.", what, max),
			fmt.Sprintf("Shorten it to %d characters. Each Unicode code point counts as one.", max)),
	}
}

// required makes the limit of a string that must be there.
func required(max int, code, what string) *limit {
	l := atMost(max, code, what)
	l.empty = rule(Missing, code+"_empty",
		fmt.Sprintf("The %s is missing or blank.", what),
		fmt.Sprintf("Give it 1 to %d characters.", max))
	return l
}

// allowing is the same limit with another maximum, which some place has.
func (l *limit) allowing(max int) *limit {
	other := *l
	other.max = max
	return &other
}

func (l *limit) refuseEmpty(n node) {
	n.refuseAs(l.empty, l.empty.Detail, fmt.Sprintf("Give it 1 to %d characters.", l.max))
}

func (l *limit) refuseLong(n node, length int) {
	n.refuseAs(l.tooLong,
		fmt.Sprintf("The %s has at most %d characters; there are %d.", l.what, l.max, length),
		fmt.Sprintf("Shorten it to %d characters. Each Unicode code point counts as one.", l.max))
}

// span is a rule of Meta's for the number of some things.
type span struct {
	what            string // "cards"
	least, most     int
	tooFew, tooMany *Rule
}

// between makes a span; what is the things' name.
func between(least, most int, code, what string) *span {
	detail := fmt.Sprintf("%d to %d %s are allowed.", least, most, what)
	s := &span{what: what, least: least, most: most}
	if least > 0 {
		s.tooFew = rule(Missing, code+"_missing", detail, fmt.Sprintf("Give at least %d.", least))
	}
	s.tooMany = rule(Invalid, code+"_too_many", detail, fmt.Sprintf("Remove all but %d.", most))
	return s
}

// check reports a number that is outside of the span.
func (s *span) check(n node, count int) {
	r := s.tooMany
	if count < s.least {
		r = s.tooFew
	} else if count <= s.most {
		return
	}
	n.refuseAs(r, fmt.Sprintf("%d to %d %s are allowed; there are %d.", s.least, s.most, s.what, count), r.Fix)
}

// needed makes the rule that something may not be absent or blank.
func needed(code, detail, fix string) *Rule { return rule(Missing, code, detail, fix) }
