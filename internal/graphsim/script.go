package graphsim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// script is a running list of steps.
type script struct {
	begin time.Time

	mu    sync.Mutex
	steps []Step
	fits  []int // how many messages matched, by step
	uses  []StepUse
}

func newScript(steps []Step, begin time.Time) *script {
	s := &script{begin: begin, steps: slices.Clone(steps), fits: make([]int, len(steps)), uses: []StepUse{}}
	for i, st := range steps {
		s.uses = append(s.uses, StepUse{Name: cmp.Or(st.Name, fmt.Sprintf("step %d", i+1))})
	}
	return s
}

// meet returns the step that applies to a message, or nil, and whether this is the first use of the step.
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

// next returns the first timed step that is due and has not happened, and marks it. If none is due, it returns how
// long until one is, or 0 if there is none.
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

// Unused returns the names of the script's steps that have not been used. A test whose whole script must run
// fails if there is one.
func (s *Sim) Unused() []string {
	var names []string
	for _, u := range s.script.Load().report() {
		if u.Used == 0 {
			names = append(names, u.Name)
		}
	}
	return names
}

// SetSteps begins another script. The error names the wrong step. In this case the old script goes
// on.
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

// play runs the timed steps of the script at their times.
func (s *Sim) play(ctx context.Context) {
	for ctx.Err() == nil {
		script := s.script.Load()
		step, pause := script.next(time.Now())
		if step != nil {
			s.happen(script, step)
			continue
		}
		if pause == 0 {
			pause = time.Hour
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.scripted:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// happen applies the changes of a step.
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

// StepUse is how often a step was used.
type StepUse struct {
	Name string `json:"name"`
	Used int    `json:"used"`            // messages it applied to, or 1 when it has happened
	Err  string `json:"error,omitempty"` // why a change of it was not made
}
