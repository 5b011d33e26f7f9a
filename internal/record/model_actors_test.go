package record_test

import (
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// accept is a caller that orders a message, often one that it has ordered before.
func (w *world) accept() {
	id := w.id()
	m := w.order(id)
	if w.lives[id] != nil && !w.one(8) {
		m.Hash, m.Payload = w.lives[id].hash, []byte(w.lives[id].payload)
	}
	done, answered := w.answered()
	if !done {
		return
	}
	before := w.lives[id]
	s := w.store.Read(id)
	r, made := w.store.Accept(s, m, w.now)
	if made {
		if before != nil {
			w.broken("%s: accepted although there is a record", id)
		}
		w.did("accept made")
		for _, p := range w.past {
			if p.id == id {
				w.did("accept another incarnation")
				break
			}
		}
		w.lives[id] = &life{id: id, incarnation: r.Incarnation(), hash: m.Hash, payload: string(m.Payload), other: string(m.Fallback.Payload), last: r}
		if _, there := w.tasks[task{id, 0}]; !there { // else it is the one of an earlier incarnation, perhaps in a worker's hands
			w.tasks[task{id, 0}] = held{}
		}
		w.versions[id] = map[int]string{}
		w.durable(id) // before the caller gets the answer
		return
	}
	if before == nil || r.Hash != before.hash {
		w.broken("%s: there is a record that nobody ordered: %+v", id, r)
	}
	if before.over {
		w.did("accept repeat of what is over")
	}
	if answered && r.Hash == m.Hash {
		w.did("accept repeat")
	} else if answered {
		w.did("accept other content")
	}
}

func (w *world) order(id string) message.Message {
	m := message.Message{
		ID: id, From: number, Class: message.Utility, Hash: fmt.Sprint("content ", w.steps), Payload: fmt.Appendf(nil, `{"content":%d}`, w.steps),
		Content: message.Content{Type: "text", To: "+16505551234"}, ExpiresAt: w.now.Add(time.Duration(1+w.rng.IntN(120)) * time.Minute),
	}
	if w.steps%2 == 0 {
		m.Fallback = message.Fallback{Template: "sale/en", Payload: fmt.Appendf(nil, `{"fallback":%d}`, w.steps)}
	}
	if w.one(4) {
		m.SendAt = w.now.Add(time.Duration(w.rng.IntN(30)) * time.Second)
	}
	if w.one(4) {
		m.Ref, m.Tags = "order", []string{"a", "b"}
	}
	if w.one(10) {
		m.ExpiresAt = w.now.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	}
	return m
}

// see makes a sweeper, a caller or an operator read a message.
func (w *world) see() {
	if len(w.sights) < 6 {
		w.sights = append(w.sights, w.store.Read(w.id()))
	}
}

// decide makes a sweeper, a caller or an operator decide about what it has read, now or some time ago.
func (w *world) decide() {
	s := w.store.Read(w.id())
	if n := len(w.sights); n > 0 && w.one(2) {
		s = w.sights[w.rng.IntN(n)]
		w.sights = slices.DeleteFunc(w.sights, func(o seen) bool { return o.id == s.id && o.stored == s.stored })
	}
	if !s.record.Exists() || w.lives[s.id] == nil {
		return
	}
	if m, what, ok := w.choose(s.record); ok {
		w.move(s, m, what)
	}
}

// choose is what a sweeper, or now and then a caller or an operator, wants to do with a record.
func (w *world) choose(r record.Record) (m message.Move, what string, ok bool) {
	policy := w.policies[r.ID]
	left := r.ExpiresAt.Sub(w.now)
	person := !w.quiet && w.one(6)
	switch {
	case person && r.State == message.Queued, person && r.State == message.Parked && w.one(4):
		return message.Move{To: message.Cancelled, Reason: message.ReasonCaller}, "cancel", true
	case (person || w.one(4)) && (r.State == message.Parked || r.State == message.InDoubt && person):
		m = message.Move{Reason: message.ReasonResolved}
		switch w.rng.IntN(4) {
		case 0:
			m.To, what = message.Submitted, "settle sent"
		case 1:
			m.To, what = message.Cancelled, "settle cancelled"
		case 2:
			if left > 0 {
				m.To, what = message.Queued, "settle queued"
			} else {
				m.To, m.Keep, what = message.Expired, true, "settle expired"
			}
		}
		return m, what, what != ""
	case keeps(r.State) && r.Payload != "" && !w.quiet && (person || w.one(3)):
		m = message.Move{To: message.Queued, Reason: message.ReasonReplayed}
		if w.one(2) || left <= 0 {
			m.ExpiresAt = w.now.Add(time.Hour)
		}
		return m, "replay", true
	case r.State == message.Attempting:
		m = message.Move{To: message.InDoubt, In: policy.InDoubtWindow, Reason: message.ReasonWorkerDied}
		since := w.now.Sub(r.Since())
		if since > 62*time.Second {
			m.Reason = message.ReasonNoAnswer
			return m, "sweep abandoned", true
		}
		return m, "sweep abandoned", since > 6*time.Second && !w.alive(r.Worker())
	case r.State == message.InDoubt && !w.now.Before(r.NextAt):
		switch {
		case r.Reason == message.ReasonServerError && left > 0:
			return message.Move{To: message.Queued, Reason: message.ReasonServerError}, "sweep requeue", true
		case policy.InDoubtPolicy == message.Resend && r.Resends == 0 && left >= time.Minute:
			return message.Move{To: message.Queued, Reason: message.ReasonPolicy, Resend: true}, "sweep resend", true
		case policy.InDoubtPolicy == message.Park:
			return message.Move{To: message.Parked, Reason: r.Reason}, "sweep park", true
		}
		return message.Move{To: message.Failed, Reason: message.ReasonUndetermined}, "sweep close", true
	case r.State == message.Queued && left <= 0:
		return message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true}, "sweep expire", true
	case r.State == message.Queued:
		_, there := w.tasks[task{r.ID, r.Task}]
		m = message.Move{To: message.Queued, Reason: message.ReasonTaskLost, In: max(0, r.NextAt.Sub(w.now))}
		return m, "sweep lost task", !there || !w.quiet && w.one(16) // the reader may have been wrong
	}
	return m, "", false
}

// alive reports whether a worker seems to be alive.
func (w *world) alive(name string) bool {
	for _, k := range w.workers {
		if k.name() == name {
			return k.frozen.IsZero() || w.now.Sub(k.frozen) <= 6*time.Second
		}
	}
	return false
}

// move moves a message from where it was seen.
func (w *world) move(s seen, m message.Move, what string) {
	in := record.Input{
		Kind: record.Seen, At: w.now, Move: m, From: s.record.State, Attempt: s.record.Attempt, Task: s.record.Task,
		Incarnation: s.record.Incarnation(),
	}
	do := func(s seen) record.Decision {
		before := w.store.Read(s.id)
		r, d := w.store.Decide(s, in)
		if before.stored != s.stored {
			w.did("decide conflict")
		}
		if !d.Applied {
			return d
		}
		w.did(what)
		l := w.lives[s.id]
		if l.incarnation != in.Incarnation {
			w.broken("%s: moved by what was seen of another incarnation", s.id)
		}
		l.unsure = l.unsure || w.restoring
		if !m.ExpiresAt.IsZero() {
			l.extended = m.ExpiresAt
		}
		if !m.ExpiresAt.IsZero() && !r.ExpiresAt.Equal(m.ExpiresAt) {
			w.broken("%s: its new deadline is %s, not %s", s.id, r.ExpiresAt, m.ExpiresAt)
		}
		switch m.To {
		case message.Queued:
			w.tasks[task{s.id, r.Task}] = held{}
			if keeps(before.record.State) {
				l.reported = "" // of the refused attempt
			}
			if !keeps(before.record.State) {
				for _, q := range l.requests {
					q.ended = q.ended || q.attempt <= r.Attempt && before.record.State != message.Queued
				}
			}
			if m.Resend {
				if l.resends++; l.resends > 1 && !l.rewound {
					w.broken("%s: sent again by policy more than once", s.id)
				}
			}
		case message.Expired: // an operator said that Meta did not take it, and nothing is sent late
			for _, q := range l.requests {
				q.ended = q.ended || q.attempt <= r.Attempt
			}
		case message.Cancelled:
			l.cancelled = true
		case message.Submitted:
			l.settled = true
		}
		return d
	}
	if !w.quiet && !w.twin && w.one(10) {
		s.once = true
		w.late = append(w.late, func() { do(s) })
		return
	}
	done, answered := w.answered()
	if !done {
		return
	}
	if do(s); !answered {
		do(s) // its caller repeats it
	}
}
