package events_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// until reads the lines of a stream after a place until there are n, and returns their wamids and the last place.
func until(t *testing.T, tail *events.Tail, key string, after events.Place, n int) ([]string, events.Place) {
	t.Helper()
	var got []string
	for late := time.After(poll.Limit); len(got) < n; {
		changed := tail.Changed()
		lines, err := tail.Read(t.Context(), key, after, n-len(got))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			got, after = append(got, l.Event.Report.WAMID), l.Place
			if l.Key != key || !strings.Contains(l.Text, l.Event.Report.WAMID) {
				t.Fatalf("line %+v", l)
			}
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%d of %d events after %s", len(got), n, poll.Limit)
		}
	}
	return got, after
}

// entryText returns the text of an entry with events from and to.
func entryText(from, to int) string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, line(numberA, n))
	}
	return strings.Join(all, "\n")
}

func TestTail(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	tail, key := events.NewTail(s), events.MetaKey(shards.Of(numberA))
	add(t, db, key, "1000-0", events.Field, entryText(0, 3))
	add(t, db, key, "1001-0", events.Field, "{\n"+entryText(3, 4)+"\nx")

	// Nothing runs: everything comes from Redis, in pages that begin within entries.
	var at events.Place
	for n := range 4 {
		var got []string
		if got, at = until(t, tail, key, at, 1); got[0] != fmt.Sprintf("wamid.%d", n) {
			t.Errorf("event %d: %s", n, got[0])
		}
	}
	if at != (events.Place{Entry: "1001-0", N: 2, Count: 2}) {
		t.Errorf("at %+v", at)
	}
	last, err := tail.Last(t.Context())
	if err != nil || last[key] != (events.Place{Entry: "1001-0", N: 3, Count: 2}) {
		t.Errorf("last %+v, %v", last[key], err)
	}

	changed := tail.Changed() // before Run: it may know the ends of the streams at once, and says so once
	run(t, tail.Run)
	<-changed // new entries come into memory from here on
	add(t, db, key, "1002-0", events.Field, entryText(4, 7))
	add(t, db, key, "1003-0", events.Field, entryText(7, 8))
	got, end := until(t, tail, key, at, 4)
	if !slices.Equal(got, wamids(4, 8)) || end.Entry != "1003-0" || end.N != 1 {
		t.Errorf("%v, %+v", got, end)
	}
	eventually(t, "all in memory", func() bool { _, n := events.InMemory(tail); return n == 2 })
	db.Rename(t.Context(), key, "away") // what is in memory is not read again
	got, end = until(t, tail, key, last[key], 4)
	if !slices.Equal(got, wamids(4, 8)) || end != (events.Place{Entry: "1003-0", N: 1, Count: 4}) {
		t.Errorf("%v, %+v", got, end)
	}
	if more, err := tail.Read(t.Context(), key, events.Place{Entry: "1002-0", N: 2}, 1); err != nil || len(more) != 1 || more[0].Event.Report.WAMID != "wamid.6" {
		t.Errorf("in the middle of an entry: %+v, %v", more, err)
	}
	if more, err := tail.Read(t.Context(), key, end, 1); err != nil || len(more) > 0 {
		t.Errorf("at the end: %+v, %v", more, err)
	}
	if more, err := tail.Read(t.Context(), key, events.Place{}, 1); err != nil || len(more) > 0 {
		t.Errorf("what is not in memory was not read from Redis: %+v, %v", more, err)
	}
	if _, err := tail.Read(t.Context(), "nosuch", events.Place{}, 1); err == nil {
		t.Error("read an unknown stream")
	}
}

// TestTailMemory: the oldest entries leave the memory when the limit is reached. Consumers find them in Redis.
func TestTailMemory(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	tail, key, other := events.NewTail(s), events.MetaKey(shards.Of(numberA)), events.MessageKey(shards.Of(numberB))
	const limit = 100 << 10
	events.LimitMemory(tail, limit)
	run(t, tail.Run)
	<-tail.Changed()
	for n := range 200 {
		add(t, db, key, "*", events.Field, entryText(10*n, 10*n+10))
		add(t, db, other, "*", events.Field, entryText(n, n+1))
	}
	got, _ := until(t, tail, key, events.Place{}, 2000)
	if !slices.Equal(got, wamids(0, 2000)) {
		t.Errorf("%d events", len(got))
	}
	got, end := until(t, tail, other, events.Place{}, 200)
	if !slices.Equal(got, wamids(0, 200)) {
		t.Errorf("%d events of the other stream", len(got))
	}
	eventually(t, "all read", func() bool {
		last, err := tail.Read(t.Context(), other, end, 1)
		size, n := events.InMemory(tail)
		return err == nil && len(last) == 0 && size <= limit && n > 2
	})
}

// TestTooOld: a place is too old exactly when an entry after it was dropped.
func TestTooOld(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	tail, key := events.NewTail(s), events.MetaKey(shards.Of(numberA))
	tooOld := func(after events.Place, first string) {
		t.Helper()
		lines, err := tail.Read(t.Context(), key, after, 10)
		if old, ok := errors.AsType[*events.TooOld](err); !ok || old.First != first || old.Key != key {
			t.Errorf("after %+v: %d lines, %v, want too old with the first %q", after, len(lines), err, first)
		}
	}
	read := func(after events.Place, n int) (end events.Place) {
		t.Helper()
		lines, err := tail.Read(t.Context(), key, after, 10)
		if err != nil || len(lines) != n {
			t.Fatalf("after %+v: %d lines, %v, want %d", after, len(lines), err, n)
		}
		if n > 0 {
			end = lines[n-1].Place
		}
		return end
	}
	trim := func(id string) {
		t.Helper()
		if err := db.XTrimMinID(t.Context(), key, id).Err(); err != nil {
			t.Fatal(err)
		}
	}
	places := func(f func() (map[string]events.Place, error)) events.Place {
		t.Helper()
		all, err := f()
		if err != nil || len(all) != 2*int(shards) {
			t.Fatal(len(all), err)
		}
		return all[key]
	}
	last := func() events.Place {
		return places(func() (map[string]events.Place, error) { return tail.Last(t.Context()) })
	}
	oldest := func() events.Place {
		return places(func() (map[string]events.Place, error) { return tail.Oldest(t.Context()) })
	}
	at := func(ms int64) events.Place {
		return places(func() (map[string]events.Place, error) { return tail.At(t.Context(), time.UnixMilli(ms)) })
	}

	empty := last()
	read(empty, 0)
	for n := 1; n <= 5; n++ {
		add(t, db, key, fmt.Sprintf("%d-0", 1000*n), events.Field, entryText(n, n+1))
	}
	first := read(empty, 5)
	if first != last() {
		t.Errorf("the end is %+v, last is %+v", first, last())
	}
	whole, later := oldest(), at(3000)
	if read(later, 3); later.Entry != "2000-0" || at(2001) != later || at(1) != whole || at(1000) != whole {
		t.Errorf("places at times: %+v, %+v, %+v", later, at(2001), at(1))
	}
	trim("2000-0")
	tooOld(empty, "2000-0")
	tooOld(whole, "2000-0")
	read(events.Place{}, 4)
	read(events.Place{Entry: "1000-0", N: 1, Count: 1}, 4) // nothing after it was dropped
	tooOld(events.Place{Entry: "1000-0", N: 1}, "2000-0")  // it may be that something was
	if p := at(1000); p != oldest() {
		t.Errorf("the place at a time of dropped entries: %+v", p)
	}
	end := read(oldest(), 4)
	trim("9000-0")
	read(end, 0)
	read(last(), 0)
	tooOld(later, "")
	add(t, db, key, "9000-0", events.Field, entryText(9, 10))
	read(end, 1) // although it is not in the stream
	add(t, db, key, "9001-0", events.Field, entryText(10, 11))
	trim("9001-0")
	tooOld(end, "9001-0")
	for _, p := range []events.Place{{}, end, whole, {Entry: "5-6", N: 7}} {
		if again, err := events.ParsePlace(p.String()); err != nil || again != p {
			t.Errorf("%+v as text: %+v, %v", p, again, err)
		}
	}
	for _, bad := range []string{"x", "1/2/3", "1-0/2", "1-0/x/3", "1-0/2/3/4"} {
		if p, err := events.ParsePlace(bad); err == nil {
			t.Errorf("%q is parsed as %+v", bad, p)
		}
	}

	// Redis lost entries at a failover, and its clock is behind that of the former master.
	db.Del(t.Context(), key)
	add(t, db, key, "9000-0", events.Field, entryText(9, 10))
	if got := read(events.Place{Entry: "9001-0", N: 1, Count: 7}, 1); got.Entry != "9000-0" {
		t.Errorf("after a failover: %+v", got)
	}
}

// TestAQuietStream: a place at the end of a stream is not too old when the last entry is dropped, however the reader came there.
func TestAQuietStream(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	tail, key := events.NewTail(events.New(db, shards, events.Options{})), events.MetaKey(shards.Of(numberA))
	for n := 1; n <= 30; n++ {
		add(t, db, key, fmt.Sprintf("%d-0", 1000*n), events.Field, entryText(n, n+1))
	}
	at := func(ms int64) events.Place {
		all, err := tail.At(t.Context(), time.UnixMilli(ms))
		if err != nil {
			t.Fatal(err)
		}
		return all[key]
	}
	ends := map[string]events.Place{"the time of now": at(40_000)}
	for name, p := range map[string]events.Place{"the oldest entry": {}, "an earlier time": at(1500)} {
		for {
			lines, err := tail.Read(t.Context(), key, p, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(lines) == 0 {
				break
			}
			p = lines[len(lines)-1].Place
		}
		ends[name] = p
	}
	if err := db.XTrimMinID(t.Context(), key, "40000-0").Err(); err != nil {
		t.Fatal(err)
	}
	for _, more := range []int{0, 1} {
		for name, p := range ends {
			if lines, err := tail.Read(t.Context(), key, p, 10); len(lines) != more || err != nil {
				t.Errorf("from %s, %+v: %d lines, want %d, %v", name, p, len(lines), more, err)
			}
		}
		add(t, db, key, fmt.Sprintf("%d-0", 50_000+more), events.Field, entryText(31+more, 32+more))
	}
}

// TestTailAfterARestart: consumers get the events that were written after Redis had restarted.
func TestTailAfterARestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	db := open(t, server.Client())
	s := events.New(db, shards, events.Options{})
	tail, key := events.NewTail(s), events.MetaKey(shards.Of(numberA))
	run(t, tail.Run)
	appendAll(t, s, statuses(numberA, 0, 10))
	_, end := until(t, tail, key, events.Place{}, 10)
	server.Kill()
	server.Restart()
	eventually(t, "Redis answers", func() bool { return db.Ping(t.Context()).Err() == nil })
	appendAll(t, s, statuses(numberA, 10, 20))
	if got, _ := until(t, tail, key, end, 10); !slices.Equal(got, wamids(10, 20)) {
		t.Errorf("after the restart: %v", got)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const shard message.Shard = 3
	metas, ours := events.MetaKey(shard), events.MessageKey(shard)
	for _, tt := range []struct {
		types []string
		want  []string
	}{
		{nil, []string{metas, ours}},
		{[]string{message.EventMessage}, []string{ours}},
		{[]string{message.EventInbound, message.EventUpdate}, []string{metas}},
		{[]string{message.EventStatus, message.EventMessage}, []string{metas, ours}},
		{[]string{message.EventGap}, []string{metas, ours}},
	} {
		if got := events.Keys([]message.Shard{shard}, tt.types); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v", tt.types, got)
		}
	}
}
