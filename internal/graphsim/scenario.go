package graphsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
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
	Webhooks  []Notice                   `json:"webhooks"`  // are sent then, beside those that Meta sends of the changes
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
	Ending  string `json:"ending"`  // no answer: "gateway" (a 502 in HTML), "lost", "reset" or "hang"
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

// StepUse is how often a step was used.
type StepUse struct {
	Name string `json:"name"`
	Used int    `json:"used"`            // messages it took, or 1 once it has happened
	Err  string `json:"error,omitempty"` // why a change of it was not made
}

func (st Step) validate() error {
	if st.On == nil && (st.Answer != nil || st.Skip != 0 || st.Times != 0) {
		return errors.New("answer, skip and times are for messages: say which by on")
	}
	if st.At < 0 || st.Skip < 0 || st.Times < -1 {
		return errors.New("at, skip and times are not negative, but for times: -1")
	}
	if a := st.Answer; a != nil {
		if !slices.Contains([]string{"", gateway, lost, reset, hang}, a.Ending) {
			return fmt.Errorf("answer.ending %q is none of gateway, lost, reset, hang", a.Ending)
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

// script is a list of steps on its way.
type script struct {
	begin time.Time

	mu    sync.Mutex
	steps []Step
	fits  []int // messages that fitted, by step
	uses  []StepUse
}

func newScript(steps []Step, begin time.Time) *script {
	s := &script{begin: begin, steps: slices.Clone(steps), fits: make([]int, len(steps)), uses: []StepUse{}}
	for i, st := range steps {
		s.uses = append(s.uses, StepUse{Name: cmp.Or(st.Name, fmt.Sprintf("step %d", i+1))})
	}
	return s
}

// meet returns the step that takes a message, or nil, and whether it is its first.
func (s *script) meet(number string, m request, now time.Time) (step *Step, first bool) {
	if len(s.steps) == 0 {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.steps {
		st := &s.steps[i]
		if st.On == nil || now.Before(s.begin.Add(time.Duration(st.At))) || !st.On.fits(number, m) {
			continue
		}
		if s.fits[i]++; s.fits[i] <= st.Skip || st.Times >= 0 && s.uses[i].Used >= max(st.Times, 1) {
			continue
		}
		s.uses[i].Used++
		return st, s.uses[i].Used == 1
	}
	return nil, false
}

// next returns the timed step that is due first and has not happened, and marks it; or how
// long until one is, 0 when there is none.
func (s *script) next(now time.Time) (*Step, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	soonest := -1
	for i := range s.steps {
		if s.steps[i].On == nil && s.uses[i].Used == 0 && (soonest < 0 || s.steps[i].At < s.steps[soonest].At) {
			soonest = i
		}
	}
	if soonest < 0 {
		return nil, 0
	}
	if pause := s.begin.Add(time.Duration(s.steps[soonest].At)).Sub(now); pause > 0 {
		return nil, pause
	}
	s.uses[soonest].Used = 1
	return &s.steps[soonest], 0
}

// report returns how often each step was used.
func (s *script) report() []StepUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.uses)
}

func (s *script) failed(step *Step, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.steps {
		if &s.steps[i] == step {
			s.uses[i].Err = err.Error()
		}
	}
}

// Unused returns the names of the script's steps that nothing has used so far. A test that
// wants its whole script played fails on any.
func (s *Sim) Unused() []string {
	var names []string
	for _, u := range s.script.Load().report() {
		if u.Used == 0 {
			names = append(names, u.Name)
		}
	}
	return names
}

// SetSteps begins another script. The error says which step is wrong; the old script goes
// on then.
func (s *Sim) SetSteps(steps []Step) error {
	if err := checkSteps(steps); err != nil {
		return err
	}
	s.script.Store(newScript(steps, time.Now()))
	select {
	case s.scripted <- struct{}{}:
	default:
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

// happen makes a step's changes.
func (s *Sim) happen(script *script, st *Step) {
	if st.Account != nil || st.Numbers != nil || st.Templates != nil {
		if err := s.change(st.alter); err != nil {
			script.failed(st, err)
		}
	}
	if st.Faults != nil {
		s.SetFaults(*st.Faults)
	}
	if st.Outage != nil {
		s.SetOutage(*st.Outage)
	}
	for _, n := range st.Webhooks {
		s.hooks.notice(n.Field, n.Value)
	}
}
