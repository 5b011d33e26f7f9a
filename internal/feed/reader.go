package feed

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"sluice/internal/events"
)

// reader reads several streams from a cursor on, merged by the ids of entries. The events of a stream stay in order.
type reader struct {
	f     *Feed
	query query
	chunk int // how many lines of a stream it reads at a time
	at    time.Time
	heads []head
}

// head is the position in a stream, and the lines that were read after it.
type head struct {
	key   string
	place events.Place // after the last line that was delivered
	lines []events.Line
	ended bool // there are no more lines now
}

// tooOld is the error of a cursor before events that were dropped.
type tooOld struct {
	first cursor    // the first cursor that is available
	at    time.Time // of the first event that is available; zero: there is none
}

// Error returns a constant text.
func (e *tooOld) Error() string { return "the cursor is too old" }

func (f *Feed) newReader(q query, at cursor, chunk int) *reader {
	r := &reader{f: f, query: q, chunk: chunk, at: at.at}
	for _, key := range q.keys {
		r.heads = append(r.heads, head{key: key, place: at.places[key]})
	}
	return r
}

// cursor returns the cursor after the delivered lines.
func (r *reader) cursor() cursor {
	c := cursor{r.at, make(map[string]events.Place, len(r.heads))}
	for _, h := range r.heads {
		c.places[h.key] = h.place
	}
	return c
}

// encoded returns the text of the cursor.
func (r *reader) encoded() string { return r.cursor().encode(r.f.o.Tail.Shards()) }

// read returns up to most lines that the filter selects. ended means that it has looked at all lines. It returns
// early, perhaps with no lines, when it has looked for long. The error is a *tooOld if the cursor is too old.
func (r *reader) read(ctx context.Context, most int) (lines []events.Line, ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for began := time.Now(); len(lines) < most && time.Since(began) < scanTime; {
		now := r.f.now()
		before := r.cursor()
		next, err := r.next(ctx, most-len(lines))
		var selected []events.Line
		if err == nil {
			selected, err = r.query.filter.Select(ctx, next, r.f.o.Accounts, r.f.o.MessagesOf)
		}
		if err != nil && len(lines) > 0 {
			r.back(before)
			return lines, false, nil // the next call returns the error again
		}
		if err != nil {
			return nil, false, err
		}
		lines = append(lines, selected...)
		if len(next) == 0 {
			r.at = now
			return lines, true, nil
		}
		r.at = timeOf(next[len(next)-1].Place.Entry)
	}
	return lines, false, nil
}

// back returns to a cursor.
func (r *reader) back(to cursor) {
	r.at = to.at
	for i, h := range r.heads {
		r.heads[i] = head{key: h.key, place: to.places[h.key]}
	}
}

// next returns up to most lines in the order of their entries; none: there are no more now.
func (r *reader) next(ctx context.Context, most int) (lines []events.Line, err error) {
	var old []*events.TooOld
	for i := range r.heads {
		r.heads[i].ended = false
		err := r.fill(ctx, &r.heads[i])
		if o, is := errors.AsType[*events.TooOld](err); is {
			old = append(old, o)
		} else if err != nil {
			return nil, err
		}
	}
	if old != nil {
		return nil, r.tooOld(old)
	}
	for len(lines) < most {
		h := r.oldest()
		if h == nil {
			break
		}
		n := 0 // all lines of an entry at once
		for entry := h.lines[0].Place.Entry; n < len(h.lines) && len(lines)+n < most && h.lines[n].Place.Entry == entry; {
			n++
		}
		lines = append(lines, h.lines[:n]...)
		h.place, h.lines = h.lines[n-1].Place, h.lines[n:]
		if err := r.fill(ctx, h); err != nil {
			break // these lines are delivered, and the next call returns the error again
		}
	}
	return lines, nil
}

// fill reads further lines of a stream if none are left.
func (r *reader) fill(ctx context.Context, h *head) (err error) {
	if len(h.lines) > 0 || h.ended {
		return nil
	}
	h.lines, err = r.f.o.Tail.Read(ctx, h.key, h.place, r.chunk)
	h.ended = len(h.lines) == 0
	return err
}

// oldest returns the head with the oldest line; nil: there are no lines.
func (r *reader) oldest() (oldest *head) {
	var ms, seq uint64
	for i := range r.heads {
		h := &r.heads[i]
		if len(h.lines) == 0 {
			continue
		}
		m, n := split(h.lines[0].Place.Entry)
		if oldest == nil || m < ms || m == ms && n < seq {
			oldest, ms, seq = h, m, n
		}
	}
	return oldest
}

// tooOld returns the error for streams whose next entries were dropped. In these streams the first available cursor
// is before the oldest entry.
func (r *reader) tooOld(old []*events.TooOld) error {
	e := &tooOld{first: r.cursor()}
	for _, o := range old {
		e.first.places[o.Key] = events.Place{}
		if at := timeOf(o.First); o.First != "" && (e.at.IsZero() || at.Before(e.at)) {
			e.at = at
		}
	}
	return e
}

// timeOf returns the time of an entry.
func timeOf(entry string) time.Time {
	ms, _ := split(entry)
	return time.UnixMilli(int64(ms))
}

// split returns the parts of the id of an entry.
func split(entry string) (ms, seq uint64) {
	m, n, _ := strings.Cut(entry, "-")
	ms, _ = strconv.ParseUint(m, 10, 64)
	seq, _ = strconv.ParseUint(n, 10, 64)
	return ms, seq
}
