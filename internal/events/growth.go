package events

import "sort"

// growthPoints is how many points a growth has for the time that it covers, roughly.
const growthPoints = 32

// growth is when the bytes in the streams were written: points in time, the oldest first, with how many bytes were written
// up to then. Between two points the rate counts as constant.
type growth []point

type point struct {
	At    int64 `json:"t"` // Unix milliseconds
	Bytes int64 `json:"b"`
}

// note returns the growth when the streams have bytes that were written since from. What is more than expected was
// written since the last point.
func (g growth) note(from, now, bytes int64) growth {
	if len(g) == 0 || g[len(g)-1].At <= from || g[len(g)-1].At > now { // nothing is known, or the clock was set back
		return growth{{from, 0}, {now, bytes}}
	}
	kept := growth{{from, g.written(from)}}
	kept = append(kept, g[sort.Search(len(g), func(i int) bool { return g[i].At > from }):]...)
	n := len(kept)
	next := point{now, kept[n-1].Bytes + max(0, bytes-kept.since(from))}
	if n > 2 && now-kept[n-2].At < (now-from)/growthPoints {
		n--
	}
	return append(kept[:n], next)
}

// written returns how many bytes were written up to a time.
func (g growth) written(at int64) int64 {
	switch i := sort.Search(len(g), func(i int) bool { return g[i].At > at }); i {
	case 0:
		return g[0].Bytes
	case len(g):
		return g[i-1].Bytes
	default:
		return between(at, g[i-1].At, g[i].At, g[i-1].Bytes, g[i].Bytes)
	}
}

// since returns how many bytes were written after a time.
func (g growth) since(at int64) int64 { return g[len(g)-1].Bytes - g.written(at) }

// last returns the earliest time after which no more than bytes were written.
func (g growth) last(bytes int64) int64 {
	written := g[len(g)-1].Bytes - bytes
	switch i := sort.Search(len(g), func(i int) bool { return g[i].Bytes >= written }); i {
	case 0:
		return g[0].At
	default:
		return between(written, g[i-1].Bytes, g[i].Bytes, g[i-1].At, g[i].At)
	}
}

// between returns the value at x on the line from (x1, y1) to (x2, y2).
func between(x, x1, x2, y1, y2 int64) int64 {
	return y1 + int64(float64(y2-y1)*float64(x-x1)/float64(x2-x1))
}
