package graphsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Step is one step of a script. It happens at a time, or to certain messages. If several steps fit a message, the
// first that is not used up applies.
type Step struct {
	Name      string                     `json:"name"`      // in reports; empty: "step 1"
	At        Duration                   `json:"at"`        // after the script's start; with On, from when on
	On        *On                        `json:"on"`        // the messages it applies to; null: it happens at its time
	Skip      int                        `json:"skip"`      // how many fitting messages it skips first
	Times     int                        `json:"times"`     // how many messages it then applies to; 0: one; -1: all
	Answer    *Answer                    `json:"answer"`    // their answer; null: the answer without the step
	Account   json.RawMessage            `json:"account"`   // members of the Account that change, when the step is first used
	Numbers   map[string]json.RawMessage `json:"numbers"`   // the same of phone numbers, by id
	Templates map[string]json.RawMessage `json:"templates"` // the same of templates, by "name/language"
	Faults    *Faults                    `json:"faults"`    // the random faults from then on
	Outage    *bool                      `json:"outage"`    // a total outage begins or ends then
	Webhooks  []Notice                   `json:"webhooks"`  // webhooks to send then, in addition to those that Meta sends about the changes
}

// On selects the messages of a step: those that match all of its members. An empty member matches any message.
type On struct {
	Number   string `json:"number"`   // phone number id of the sender
	To       string `json:"to"`       // the recipient's last digits, or a whole id
	Template string `json:"template"` // its name, or "name/language"
	Type     string `json:"type"`
}

func (o On) fits(number string, m request) bool {
	return (o.Number == "" || o.Number == number) &&
		(o.To == "" || strings.HasSuffix(m.recipient, strings.TrimPrefix(o.To, "+"))) &&
		(o.Template == "" || o.Template == m.Template || o.Template == m.TemplateID()) &&
		(o.Type == "" || o.Type == m.Type)
}

// Answer is the answer to a message, in place of random faults and limits.
type Answer struct {
	Code    int    `json:"code"`    // Graph error code; 0: success
	Taken   bool   `json:"taken"`   // the message is accepted in spite of Code or Ending; without these it always is
	Ending  string `json:"ending"`  // no answer: "gateway" (a 502 in HTML), "lost", "reset", "hang", "portal" (a 200 in HTML), "empty" (204), "mute" (200 without a message) or "cut"
	Latency Span   `json:"latency"` // before the answer
	Status  string `json:"status"`  // message_status of a template message, for example "held_for_quality_assessment"; empty: "accepted"
	Failed  int    `json:"failed"`  // accepted, and reported as failed with this code
	Silent  bool   `json:"silent"`  // accepted, and never reported
}

func (a Answer) fate() fate {
	return fate{
		taken: a.Taken || a.Code == 0 && a.Ending == "",
		code:  a.Code, ending: a.Ending, status: a.Status, failed: a.Failed, silent: a.Silent,
	}
}

// Notice is a webhook of any field.
type Notice struct {
	Field string          `json:"field"`
	Value json.RawMessage `json:"value"`
}

func (st Step) validate() error {
	if st.On == nil && (st.Answer != nil || st.Skip != 0 || st.Times != 0) {
		return errors.New("answer, skip and times apply to messages: select them with on")
	}
	if st.At < 0 || st.Skip < 0 || st.Times < -1 {
		return errors.New("at, skip and times must not be negative, except times: -1")
	}
	if a := st.Answer; a != nil {
		if a.Ending != "" && !slices.Contains(allEndings, a.Ending) {
			return fmt.Errorf("answer.ending %q is none of %s", a.Ending, strings.Join(allEndings, ", "))
		}
		if a.Code != 0 && a.Ending != "" {
			return errors.New("answer has a code or an ending, not both")
		}
		if err := errors.Join(checkCode("answer.code", a.Code), checkCode("answer.failed", a.Failed)); err != nil {
			return err
		}
	}
	if st.Faults != nil {
		if err := st.Faults.Validate(); err != nil {
			return err
		}
	}
	for i, n := range st.Webhooks {
		if n.Field == "" || len(n.Value) == 0 {
			return fmt.Errorf("webhooks[%d] needs a field and a value", i)
		}
	}
	// The changes are checked with an account of their own.
	a := Account{}
	if err := st.alter(&a); err != nil {
		return err
	}
	_, err := newStanding(a, Options{}, time.Time{})
	return err
}

// alter applies the changes of a step to an account.
func (st Step) alter(a *Account) error {
	if len(st.Account) > 0 {
		if err := strictly(st.Account, a); err != nil {
			return fmt.Errorf("account: %w", err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(st.Numbers)) {
		if err := strictly(st.Numbers[id], a.number(id)); err != nil {
			return fmt.Errorf("numbers.%s: %w", id, err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(st.Templates)) {
		name, language, ok := strings.Cut(key, "/")
		if !ok {
			return fmt.Errorf("templates.%s: write name/language", key)
		}
		if err := strictly(st.Templates[key], a.template(name, language)); err != nil {
			return fmt.Errorf("templates.%s: %w", key, err)
		}
	}
	return nil
}

func checkSteps(steps []Step) error {
	for i, st := range steps {
		if err := st.validate(); err != nil {
			return fmt.Errorf("steps[%d]: %w", i, err)
		}
	}
	return nil
}
