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

// Step is one step of a script: something that happens at a time, or that certain messages
// meet. Of the steps a message fits, the first that is not used up takes it.
type Step struct {
	Name      string                     `json:"name"`      // in reports; empty: "step 1"
	At        Duration                   `json:"at"`        // after the script's start; with On, from when on
	On        *On                        `json:"on"`        // the messages it is for; null: it happens at its time
	Skip      int                        `json:"skip"`      // messages that fit it and go on as if it were not there
	Times     int                        `json:"times"`     // messages it takes then; 0: one; -1: all
	Answer    *Answer                    `json:"answer"`    // what they meet; null: what they would meet anyway
	Account   json.RawMessage            `json:"account"`   // members of the Account that change, when the step is first used
	Numbers   map[string]json.RawMessage `json:"numbers"`   // the same of phone numbers, by id
	Templates map[string]json.RawMessage `json:"templates"` // the same of templates, by "name/language"
	Faults    *Faults                    `json:"faults"`    // what goes wrong by chance from then on
	Outage    *bool                      `json:"outage"`    // a total outage begins or ends then
	Webhooks  []Notice                   `json:"webhooks"`  // are sent then, in addition to those that Meta sends about the changes
}

// On says which messages fit a step: those that fit all of its members. Empty: any.
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

// Answer is what a message meets, instead of chance and limits.
type Answer struct {
	Code    int    `json:"code"`    // Graph error code; 0: success
	Taken   bool   `json:"taken"`   // it is in the ledger in spite of Code or Ending; with neither it always is
	Ending  string `json:"ending"`  // no answer: "gateway" (a 502 in HTML), "lost", "reset", "hang", "portal" (a 200 in HTML), "empty" (204), "mute" (200 without a message) or "cut"
	Latency Span   `json:"latency"` // before the answer
	Status  string `json:"status"`  // message_status of a template: "held_for_quality_assessment" say; empty: "accepted"
	Failed  int    `json:"failed"`  // taken, and reported failed with this code
	Silent  bool   `json:"silent"`  // taken, and never reported
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
		return errors.New("answer, skip and times are for messages: say which by on")
	}
	if st.At < 0 || st.Skip < 0 || st.Times < -1 {
		return errors.New("at, skip and times are not negative, but for times: -1")
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
	// What it changes is tried on an account of its own.
	a := Account{}
	if err := st.alter(&a); err != nil {
		return err
	}
	_, err := newStanding(a, Options{}, time.Time{})
	return err
}

// alter makes a step's changes to an account.
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
