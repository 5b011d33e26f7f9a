package ratelimit_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
)

// schedule books on the real script with a clock of the test's own.
type schedule struct {
	t      testing.TB
	db     *redis.Client
	script *redis.Script
	key    string
	T      time.Duration
	floor  time.Duration // before which nothing is booked
}

// spacing is the time between slots.
func spacing(rate int) time.Duration {
	return ((time.Second+ratelimit.Slack)/time.Duration(rate) + time.Microsecond - 1).Truncate(time.Microsecond)
}

func newSchedule(t testing.TB, db *redis.Client, key string, rate int) *schedule {
	return &schedule{t: t, db: db, script: redis.NewScript(ratelimit.RateLua + ratelimit.SlotsLua + `
		local book, first, free = slots(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8]))
		return {string.format('%.0f', first), free, book(tonumber(ARGV[7]))}`), key: key, T: spacing(rate)}
}

// book books up to n slots at the time now, counted from the Unix epoch.
func (l *schedule) book(owner string, now time.Duration, n int) (slots []time.Duration, free int64) {
	l.t.Helper()
	r, err := l.script.Run(l.t.Context(), l.db, []string{l.key}, owner, now.Microseconds(), l.T.Microseconds(),
		ratelimit.Horizon.Microseconds(), ratelimit.Lead.Microseconds(), ratelimit.Cap.Microseconds(), n, l.floor.Microseconds()).Slice()
	if err != nil {
		l.t.Fatal(err)
	}
	us, err := strconv.ParseInt(r[0].(string), 10, 64)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range r[2].(int64) {
		slots = append(slots, time.Duration(us)*time.Microsecond+time.Duration(i)*l.T)
	}
	return slots, r[1].(int64)
}

func TestSlotsScript(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t, "--appendonly", "no").Client()
	const start = 1_700_000_000 * time.Second // large, as real ones are
	l := newSchedule(t, db, "schedule", 80)

	// A schedule that was not used yet starts after the lead and reaches as far as the horizon.
	a, free := l.book("a", start, 3)
	if len(a) != 3 || a[0] != start+ratelimit.Lead || a[1]-a[0] != l.T {
		t.Fatalf("first slots %v", a)
	}
	if want := int64((ratelimit.Horizon-ratelimit.Lead)/l.T) + 1; free != want {
		t.Errorf("%d slots free, want %d", free, want)
	}
	// The owner goes on where it was, and gets no more than fits.
	b, _ := l.book("a", start, 1000)
	if len(b) != int(free)-3 || b[0] != a[2]+l.T {
		t.Errorf("%d further slots from %v, want %d from %v", len(b), b[0], free-3, a[2]+l.T)
	}
	last := b[len(b)-1]
	if last > start+ratelimit.Horizon {
		t.Errorf("a slot %v ahead, beyond the horizon", last-start)
	}
	if more, free := l.book("a", start, 1); len(more) != 0 || free != 0 {
		t.Errorf("%d slots (%d free) of a full schedule", len(more), free)
	}
	// Asking for nothing changes nothing.
	before := db.HGetAll(t.Context(), "schedule").Val()
	l.book("b", start+time.Second, 0)
	if after := db.HGetAll(t.Context(), "schedule").Val(); after["tat"] != before["tat"] || after["own"] != "a" {
		t.Errorf("a booking of no slots made %v out of %v", after, before)
	}
	// Another owner gets nothing while the first keeps up, and later starts behind the time
	// for which the first's last slot may be used.
	if got, _ := l.book("b", start+l.T, 1); len(got) != 0 {
		t.Errorf("a second owner got %v", got)
	}
	now := last + l.T
	c, _ := l.book("b", now, 1)
	if len(c) != 1 || c[0] != last+l.T+ratelimit.Cap {
		t.Errorf("after a change of owner %v, want %v", c, last+l.T+ratelimit.Cap)
	}
	// What another would book again must not be forgotten while a slot of it is open.
	if ttl := db.PTTL(t.Context(), "schedule").Val(); ttl > 0 {
		t.Errorf("the schedule lives for %v", ttl)
	}
	// Idle time gives no credit.
	d, free := l.book("b", now+time.Hour, 1000)
	if d[0] != now+time.Hour+ratelimit.Lead || len(d) != int(free) {
		t.Errorf("after an idle hour %d slots from %v", len(d), d[0]-now-time.Hour)
	}
}

// A failover may lose the schedule's last bookings. Their owner knows where they ended.
func TestNothingIsBookedBeforeTheFloor(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t, "--appendonly", "no").Client()
	const start = 1_700_000_000 * time.Second
	l := newSchedule(t, db, "schedule", 80)
	a, _ := l.book("a", start, 5)
	db.Del(t.Context(), "schedule")
	l.floor = a[4] + l.T
	if b, free := l.book("a", start+ms, 5); b[0] != l.floor || free > int64(ratelimit.Horizon/l.T)-4 {
		t.Errorf("after a loss the schedule goes on at %v with %d slots free, want %v", b[0]-start, free, l.floor-start)
	}
	l.floor = start + time.Minute // a pause
	if c, free := l.book("a", start+2*ms, 5); len(c) != 0 || free != 0 {
		t.Errorf("%d slots (%d free) of a schedule that pauses", len(c), free)
	}
	if d, _ := l.book("a", l.floor-50*ms, 1); len(d) != 1 || d[0] != l.floor {
		t.Errorf("the first slots after a pause are %v, want its end", d)
	}
}

// Two owners that take over from each other at random, each using its slots as late as may
// be, keep to the rate together: each by what it sent itself, both by the shift.
func TestChangesOfOwnerKeepTheRate(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t, "--appendonly", "no").Client()
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		rate := []int{1, 5, 20, 80, 200, 1000}[seed%6]
		l := newSchedule(t, db, "schedule:"+strconv.FormatUint(seed, 10), rate)
		var (
			used    []time.Duration // of both, in order of their slots
			own     = map[string][]time.Duration{}
			owner   = "a"
			changes int
			now     = 1_700_000_000 * time.Second
		)
		for range 600 {
			if r.IntN(15) == 0 {
				owner = map[string]string{"a": "b", "b": "a"}[owner]
				changes++
			}
			slots, _ := l.book(owner, now, r.IntN(1+rate/8)+1)
			for _, at := range slots {
				lateness := time.Duration(r.Int64N(int64(ratelimit.Cap) + 1))
				if r.IntN(3) == 0 {
					lateness = ratelimit.Cap * time.Duration(r.IntN(2)) // the extremes
				}
				u := at + lateness
				mine := own[owner]
				if n := len(mine); n >= rate {
					u = max(u, mine[n-rate]+time.Second)
				}
				if u > at+ratelimit.Cap || r.IntN(50) == 0 {
					continue // lost
				}
				if n := len(mine); n > 0 {
					u = max(u, mine[n-1])
				}
				if u > at+ratelimit.Cap {
					continue
				}
				own[owner] = append(own[owner], u)
				used = append(used, u)
			}
			now += time.Duration(r.Int64N(int64(ratelimit.Horizon)))
		}
		if len(used) < rate/2 {
			t.Errorf("rate %d: only %d sends in %d changes", rate, len(used), changes)
		}
		slices.Sort(used)
		for i := rate; i < len(used); i++ {
			if d := used[i] - used[i-rate]; d < time.Second {
				t.Fatalf("seed %d, rate %d: %d sends within %v", seed, rate, rate+1, d)
			}
		}
	}
}
