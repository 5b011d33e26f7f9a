package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// AutoReply is what Sluice answers to people who write to a number. Of the rules, the hook, the away text and the welcome text, in this
// order, the first one that has an answer counts.
type AutoReply struct {
	APIKey  string      `json:"api_key" doc:"Name of the API key with whose rights the replies are sent. It needs the scope messages:send and the number."`
	Rules   []ReplyRule `json:"rules,omitempty" doc:"Fixed answers to words. The first rule with the word counts."`
	Hook    *ReplyHook  `json:"hook,omitempty" doc:"A URL of yours that Sluice asks for the answer when no rule has one."`
	Away    *AwayText   `json:"away,omitempty" doc:"A text that each person gets once in a window of the day."`
	Welcome string      `json:"welcome,omitempty" doc:"The text that answers the first message of a person in 30 days, 1 to 4096 characters."`
}

// ReplyRule is a fixed answer to words.
type ReplyRule struct {
	Words []string `json:"words" doc:"The words, 1 to 50 characters each. A message counts only if it is one of them as a whole, without regard to case, punctuation and spaces around it."`
	Text  string   `json:"text" doc:"The answer, 1 to 4096 characters."`
}

// ReplyHook is a URL that is asked for answers.
type ReplyHook struct {
	URL      string `json:"url" doc:"The URL, with https."`
	Deadline string `json:"deadline,omitempty" doc:"How long the answer may take, 100ms to 10s. Absent: 5s."`
	Secret   Secret `json:"-"` // signs the requests; empty: they are not signed
}

// DefaultHookDeadline is the deadline of a hook that names none.
const DefaultHookDeadline = 5 * time.Second

// Within returns how long the answer of the hook may take.
func (h ReplyHook) Within() time.Duration {
	if d, err := time.ParseDuration(h.Deadline); err == nil {
		return d
	}
	return DefaultHookDeadline
}

// AwayText is a text for a window of the day. If To is not after From, the window ends on the next day.
type AwayText struct {
	Text string   `json:"text" doc:"The text, 1 to 4096 characters."`
	From string   `json:"from" doc:"When the window begins, like 18:00."`
	To   string   `json:"to" doc:"When it ends, like 09:00. If it is not later than from: on the next day."`
	Days []string `json:"days,omitempty" doc:"The days on which it begins: mon, tue, wed, thu, fri, sat or sun. Absent: each day."`
	Zone string   `json:"time_zone" doc:"Name of the time zone of the times, like Europe/Berlin."`
}

// The limits of automatic replies: Meta's of a text, and how many rules a number has, and words a rule.
const (
	replyMost     = 4096
	rulesMost     = 200
	ruleWordsMost = 50
)

// autoReply reads the automatic replies of a number.
func (d *document) autoReply(of *number) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		one := AutoReply{}
		d.mapping(path, n, []member{
			{key: "api_key", must: true, read: d.scalar(name(&one.APIKey))},
			{key: "rules", read: d.list(d.replyRule(&one.Rules))},
			{key: "hook", read: func(path string, n *yaml.Node) {
				one.Hook = &ReplyHook{}
				d.mapping(path, n, []member{
					{key: "url", must: true, read: d.scalar(hookURL(&one.Hook.URL))},
					{key: "deadline", read: d.scalar(func(s string) error {
						one.Hook.Deadline = s
						return duration(new(time.Duration), 100*time.Millisecond, 10*time.Second)(s)
					})},
					{key: "secret_file", read: d.secretFile(&of.hookSecret)},
				})
			}},
			{key: "away", read: func(path string, n *yaml.Node) {
				one.Away = &AwayText{}
				d.mapping(path, n, []member{
					{key: "text", must: true, read: d.scalar(replyText(&one.Away.Text))},
					{key: "from", must: true, read: d.scalar(clockTime(&one.Away.From))},
					{key: "to", must: true, read: d.scalar(clockTime(&one.Away.To))},
					{key: "days", read: d.choices(&one.Away.Days, Days...)},
					{key: "time_zone", must: true, read: d.scalar(timeZone(&one.Away.Zone))},
				})
			}},
			{key: "welcome", read: d.scalar(replyText(&one.Welcome))},
		})
		if len(one.Rules) == 0 && one.Hook == nil && one.Away == nil && one.Welcome == "" {
			d.wrong(path, n, errors.New("has nothing to answer: give it rules, hook, away or welcome, or leave it out"))
		}
		if len(one.Rules) > rulesMost {
			d.wrong(path+".rules", n, fmt.Errorf("has %d rules, more than %d: use a hook", len(one.Rules), rulesMost))
		}
		of.AutoReply = &one
	}
}

func (d *document) replyRule(dst *[]ReplyRule) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		var one ReplyRule
		d.mapping(path, n, []member{
			{key: "words", must: true, read: d.list(func(path string, n *yaml.Node) {
				d.scalar(func(s string) error {
					switch {
					case utf8.RuneCountInString(s) > wordMost:
						return fmt.Errorf("has more than %d characters", wordMost)
					case !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }):
						return errors.New("has neither a letter nor a digit, so no message would match it")
					}
					one.Words = append(one.Words, s)
					return nil
				})(path, n)
			})},
			{key: "text", must: true, read: d.scalar(replyText(&one.Text))},
		})
		if len(one.Words) > ruleWordsMost {
			d.wrong(path+".words", n, fmt.Errorf("has more than %d words: make another rule", ruleWordsMost))
		}
		*dst = append(*dst, one)
	}
}

func replyText(dst *string) func(string) error {
	return func(s string) error {
		if length := utf8.RuneCountInString(s); length > replyMost || strings.TrimSpace(s) == "" {
			return fmt.Errorf("is not a text of 1 to %d characters", replyMost)
		}
		*dst = s
		return nil
	}
}

// hookURL does not quote the value in its error, because a URL may contain a password.
func hookURL(dst *string) func(string) error {
	return func(s string) error {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"https", "http"}, u.Scheme) || u.User != nil || u.Fragment != "" || len(s) > 2048 {
			return errors.New("is not a URL like https://bot.example.com/answer without a user")
		}
		*dst = s
		return nil
	}
}

// openHooks reads the secrets of the auto-reply hooks.
func (l *loader) openHooks() {
	for _, n := range l.numbers {
		if n.hookSecret != "" {
			n.AutoReply.Hook.Secret = l.secret("auto_reply.hook.secret_file of number "+n.ID, n.hookSecret)
		}
	}
}
