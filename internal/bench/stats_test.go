package bench

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// at returns times at these milliseconds.
func at(ms ...int) []time.Time {
	start := time.Unix(1_763_821_860, 0)
	times := make([]time.Time, len(ms))
	for i, m := range ms {
		times[i] = start.Add(time.Duration(m) * time.Millisecond)
	}
	return times
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		times   []time.Time
		limit   int
		largest int
		over    int
	}{
		{"none", nil, 2, 0, 0},
		{"one", at(0), 1, 1, 0},
		{"a second apart", at(0, 1000, 2000), 1, 1, 0},
		{"a little less", at(0, 999), 1, 2, 1},
		{"on the limit", at(0, 500, 1000, 1500), 2, 2, 0},
		{"one window over", at(0, 500, 900, 1900), 2, 3, 1},
		{"each window that ends too early counts", at(0, 100, 200, 300), 2, 4, 2},
		{"a burst across a boundary of the clock", at(900, 950, 1050, 1100), 2, 4, 2},
	} {
		if got := largestWindow(c.times); got != c.largest {
			t.Errorf("%s: largest window %d, want %d", c.name, got, c.largest)
		}
		if got := windowsOver(c.times, c.limit); got != c.over {
			t.Errorf("%s: %d windows over %d, want %d", c.name, got, c.limit, c.over)
		}
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	times := at(0, 10, 20, 30)
	if got := within(times, times[1], times[3]); got != 2 {
		t.Errorf("%d times, want the first bound's and not the second's: 2", got)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[99-i] = time.Duration(i + 1) // 100 down to 1
	}
	for _, c := range []struct {
		of   []time.Duration
		p    float64
		want time.Duration
	}{
		{nil, 50, 0},
		{[]time.Duration{7}, 50, 7},
		{[]time.Duration{7}, 99, 7},
		{[]time.Duration{3, 1, 2}, 50, 2},
		{[]time.Duration{4, 3, 1, 2}, 50, 2},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
	} {
		if got := percentile(slices.Clone(c.of), c.p); got != c.want {
			t.Errorf("percentile %v of %d: %d, want %d", c.p, len(c.of), got, c.want)
		}
	}
}

func TestReadTrace(t *testing.T) {
	t.Parallel()
	s := &sends{times: map[string][]time.Time{}}
	for _, trace := range []string{"30 w 1\n10 t -\n20 w 2\n", "5 t -\n15 w 1\n"} {
		if err := s.readTrace(strings.NewReader(trace)); err != nil {
			t.Fatal(err)
		}
	}
	s.sort()
	nanos := func(times []time.Time) (ns []int64) {
		for _, t := range times {
			ns = append(ns, t.UnixNano())
		}
		return ns
	}
	if one, two, tasks := nanos(s.times["1"]), nanos(s.times["2"]), nanos(s.tasks); !slices.Equal(one, []int64{15, 30}) || !slices.Equal(two, []int64{20}) || !slices.Equal(tasks, []int64{5, 10}) {
		t.Errorf("number 1 %v, number 2 %v, tasks %v", one, two, tasks)
	}
	for _, bad := range []string{"30 w\n", "soon w 1\n"} {
		if s.readTrace(strings.NewReader(bad)) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
