package intake

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"sluice/internal/message"
)

// group is the lines of a batch that arrived together. Their messages are stored together, and the lines are
// answered when all are stored. One goroutine owns a group at a time: the one that reads it, then the one that
// stores it, and, when done is closed, the one that answers.
type group struct {
	lines    []line
	messages []message.Message // of the lines that are not refused, in order
	waits    []estimate
	done     chan struct{}
}

// line is a line of a batch, and its result.
type line struct {
	number   int
	message  int     // the index in messages of the group, or alone
	refused  refusal // nil: the message was accepted
	unknown  unknown // in the message
	accepted message.Acceptance
	checked  *checkedMessage // of a batch that is only checked
}

// alone is the index of a message that is not accepted together with its group.
const alone = -1

// estimate is how long a message of a number, class and flow would wait.
type estimate struct {
	number string
	class  message.Class
	flow   message.Flow
	wait   time.Duration
}

var groupPool = sync.Pool{New: func() any { return new(group) }}

func newGroup() *group {
	g := groupPool.Get().(*group)
	g.done = make(chan struct{})
	return g
}

// free returns g to the pool.
func (g *group) free() {
	clear(g.lines)
	clear(g.messages)
	clear(g.waits)
	*g = group{lines: g.lines[:0], messages: g.messages[:0], waits: g.waits[:0]}
	groupPool.Put(g)
}

func (g *group) refuse(number int, refused refusal) {
	g.lines = append(g.lines, line{number: number, message: alone, refused: refused})
}

// add adds a line with its message.
func (g *group) add(number int, m *message.Message) {
	g.lines = append(g.lines, line{number: number, message: len(g.messages), unknown: unknownIn(m.Content)})
	g.messages = append(g.messages, *m)
}

// acceptGroup accepts the messages of a group, and sets the result of each line.
func (in *Intake) acceptGroup(ctx context.Context, g *group) {
	defer close(g.done)
	defer in.traceLines(ctx, g)()
	storing, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	// For messages that expire too early, whose recipient opted out or has a closed customer service window, or whose conversation another app owns: they
	// may repeat messages that were accepted before.
	var others sync.WaitGroup
	store, now := g.messages[:0], in.now()
	all := g.pointers()
	outside := in.outside(storing, now, all...)
	for i := range g.lines {
		if l := &g.lines[i]; outside != nil && l.refused == nil && outside[l.message] && in.replace(all[l.message]) {
			outside[l.message], l.unknown = false, unknownIn(all[l.message].Content)
		}
	}
	owned, optedOut := in.elsewhere(storing, now, all...), in.suppressed(storing, all...)
	for i := range g.lines {
		l := &g.lines[i]
		if l.refused != nil {
			continue
		}
		m := &g.messages[l.message]
		free := (outside == nil || !outside[l.message]) && (owned == nil || owned[l.message].IsZero()) && (optedOut == nil || optedOut[l.message] == nil)
		if free && now.Add(in.groupWait(storing, g, m, now)).Before(m.ExpiresAt) && in.limitWait(storing, m, now) == 0 {
			if n := len(store); n != l.message {
				g.messages[n] = *m
			}
			l.message, store = len(store), g.messages[:len(store)+1]
			continue
		}
		l.message = alone
		other := *m
		others.Go(func() {
			l.accepted, l.refused = in.accept(ctx, http.Header{}, &other, now)
			in.metrics.count(l.result())
		})
	}
	if len(store) > 0 {
		results := in.acceptAll(storing, store)
		for i := range g.lines {
			if l := &g.lines[i]; l.message != alone {
				l.accepted, l.refused = results[l.message].Acceptance, in.refused(&store[l.message], results[l.message].Err)
				in.metrics.count(l.result())
			}
		}
	}
	others.Wait()
}

// pointers returns the messages of the group.
func (g *group) pointers() []*message.Message {
	all := make([]*message.Message, len(g.messages))
	for i := range g.messages {
		all[i] = &g.messages[i]
	}
	return all
}

// groupWait returns the same as wait, with one estimate for all messages of a group with the same number, class and flow.
func (in *Intake) groupWait(ctx context.Context, g *group, m *message.Message, now time.Time) time.Duration {
	if in.o.ETA == nil || m.SendAt.After(now) || m.After.ID != "" {
		return 0
	}
	for _, e := range g.waits {
		if e.class == m.Class && e.number == m.From && e.flow == m.Flow() {
			return e.wait
		}
	}
	wait := in.wait(ctx, m, now)
	g.waits = append(g.waits, estimate{m.From, m.Class, m.Flow(), wait})
	return wait
}

// checkGroup checks the messages of a group without storing them, and sets the result of each line.
func (in *Intake) checkGroup(ctx context.Context, g *group) {
	defer close(g.done)
	now := in.now()
	var checks sync.WaitGroup // they share the round trips to the store
	for i := range g.lines {
		l := &g.lines[i]
		if l.refused != nil {
			continue
		}
		checks.Go(func() {
			shown, refused := in.checked(ctx, http.Header{}, &g.messages[l.message], now)
			l.checked, l.refused = &shown, refused
		})
	}
	checks.Wait()
}

// result returns the label of the line in the metrics.
func (l *line) result() string {
	switch {
	case l.refused != nil:
		return result(l.refused.Status())
	case l.accepted.Duplicate:
		return resultDuplicate
	}
	return resultAccepted
}

// appendResult appends the answer to the line.
func (l *line) appendResult(b []byte) []byte {
	v := lineResult{Line: l.number, Status: http.StatusAccepted}
	switch {
	case l.refused != nil:
		f := l.refused.Document()
		v.Status, v.Problem = f.Status, &f
		return v.append(b)
	case l.checked != nil:
		text, _ := json.Marshal(checkedLine{Line: l.number, Status: http.StatusOK, checkedMessage: l.checked}) // cannot fail: the payload is valid JSON
		return append(b, text...)
	case l.accepted.Duplicate:
		v.Status = http.StatusOK
	}
	shown := show(l.accepted, l.unknown)
	v.acceptedMessage = &shown
	return v.append(b)
}
