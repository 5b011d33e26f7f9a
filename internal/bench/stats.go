package bench

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// largestWindow returns the most times in any one second [t, t+1s). Times must be sorted.
func largestWindow(times []time.Time) int {
	most, first := 0, 0
	for i, t := range times {
		for t.Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// windowsOver counts the one-second windows, one ending at each time, with more than limit
// times in them. Times must be sorted.
func windowsOver(times []time.Time, limit int) int {
	over := 0
	for i := limit; i < len(times); i++ {
		if times[i].Sub(times[i-limit]) < time.Second {
			over++
		}
	}
	return over
}

// within counts the times in [from, to).
func within(times []time.Time, from, to time.Time) int {
	n := 0
	for _, t := range times {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}

// percentile returns the p-th percentile (0 to 100) by nearest rank, 0 of nothing. It sorts d.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	i := int(p/100*float64(len(d)) + 0.999999)
	return d[min(max(i-1, 0), len(d)-1)]
}

func millis(d time.Duration) *float64 { return new(float64(d) / float64(time.Millisecond)) }

// ratio returns a/b, or 0 if b is 0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// sends is what the traces of workers contain: when they wrote requests, and how many tasks they got.
type sends struct {
	times map[string][]time.Time // by number, sorted
	tasks []time.Time
}

// readTrace adds the trace of a worker to s; see the package sendtrace.
func (s *sends) readTrace(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 {
			return fmt.Errorf("trace: a line of %d words", len(f))
		}
		ns, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return fmt.Errorf("trace: %w", err)
		}
		at := time.Unix(0, ns)
		if f[1] == "t" {
			s.tasks = append(s.tasks, at)
			continue
		}
		s.times[f[2]] = append(s.times[f[2]], at)
	}
	return lines.Err()
}

// sort sorts all times after the last trace is read.
func (s *sends) sort() {
	for _, t := range s.times {
		slices.SortFunc(t, time.Time.Compare)
	}
	slices.SortFunc(s.tasks, time.Time.Compare)
}
