package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"strconv"
	"sync"
	"time"

	"sluice/internal/store"
)

//go:embed book.lua
var bookLua string

// BookLua is the script with which the schedules of a process book.
var BookLua = RateLua + SlotsLua + bookLua

// errReply means that a script's reply has another form than it should.
var errReply = errors.New("a script's reply is not understood")

// ScheduleOptions say which number a Schedule is about. All fields are required.
type ScheduleOptions struct {
	DB     *store.DB
	Script store.Script // of BookLua
	Clock  *Clock       // of Redis; schedules share it
	Worker string       // names this process among all others
	Key    string       // of ScheduleKey
	Rate   int          // configured, in messages a second
	First  func() bool  // whether this worker serves the number, or else stands by
}

// Schedule is the send schedule of one number, as one worker sees it. It books slots in Redis and hands them
// to messages by its SlotQueue. It is safe for concurrent use.
type Schedule struct {
	*SlotQueue
	o ScheduleOptions

	mu       sync.Mutex
	rate     int           // configured
	booked   int64         // end of the last booking, in microseconds of Redis's clock
	spacing  time.Duration // between the slots of the last booking
	trip     time.Duration // that Redis takes to answer, smoothed
	redisNow int64         // the last reading of Redis's clock, in microseconds
	redisAt  time.Time     // when it was read
}

// NewSchedule returns a schedule. It hands out nothing until Run is called.
func NewSchedule(o ScheduleOptions) *Schedule {
	s := &Schedule{o: o, rate: o.Rate}
	s.SlotQueue = NewSlotQueue(o.Rate, s.Book)
	return s
}

// Args are what a script that books slots must know.
type Args struct {
	Rate    int   // configured
	Booked  int64 // end of this worker's last booking, us
	Further int64 // how much further than usual to book, us
	First   byte  // '1' when this worker serves the number, else '0'
}

// Args returns what a script that books slots must know now.
func (s *Schedule) Args() Args {
	first := byte('0')
	if s.o.First() {
		first = '1'
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Args{s.rate, s.booked, s.further().Microseconds(), first}
}

// SetConfigured changes the configured rate.
func (s *Schedule) SetConfigured(rate int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = rate
}

// Configured returns the configured rate.
func (s *Schedule) Configured() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate
}

// PerSecond returns how many messages a second the number may send: the configured rate, or that of the
// last booking if it was higher.
func (s *Schedule) PerSecond() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	perSecond := float64(s.rate)
	if s.spacing > 0 {
		perSecond = max(perSecond, float64(time.Second/s.spacing))
	}
	return perSecond
}

// Spacing returns the time between the slots of the last booking.
func (s *Schedule) Spacing() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spacing
}

// AnsweredIn notes how long Redis took to answer. The first time is all that is known yet of how long an
// attempt takes to be written down.
func (s *Schedule) AnsweredIn(trip time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answeredIn(trip)
}

func (s *Schedule) answeredIn(trip time.Duration) {
	if s.trip == 0 {
		s.trip = trip
		s.Expect(trip)
	}
	s.trip += (trip - s.trip) / 8
}

// Further is the function Further for this number.
func (s *Schedule) Further() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.further()
}

func (s *Schedule) further() time.Duration { return Further(s.trip, s.Prep()) }

// RedisTime returns about what Redis's clock reads at a time; zero: it was not read yet.
func (s *Schedule) RedisTime(at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redisAt.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(s.redisNow).Add(at.Sub(s.redisAt))
}

// Booking is what a script replied about slots.
type Booking struct {
	Now   time.Time   // Redis's clock
	Slots []time.Time // by this machine's clock
	Ahead time.Duration
}

// Booked takes in the reply of a script that books slots, which was called at sent and took trip. It begins
// with: seconds and microseconds of Redis's clock, microseconds until the first slot, between slots, and how
// many slots were booked.
func (s *Schedule) Booked(sent time.Time, trip time.Duration, reply []any) (Booking, error) {
	if len(reply) < 5 {
		return Booking{}, errReply
	}
	now := 1_000_000*Integer(reply[0]) + Integer(reply[1])
	first, between, n := now+Integer(reply[2]), Integer(reply[3]), Integer(reply[4])
	spacing := time.Duration(between) * time.Microsecond
	end := first + n*between
	s.mu.Lock()
	s.redisNow, s.redisAt = now, sent.Add(trip/2)
	s.answeredIn(trip)
	if n > 0 {
		if s.booked = max(s.booked, end); s.booked > end+clockSet.Microseconds() {
			s.booked = end
		}
		s.spacing = spacing
	}
	s.mu.Unlock()
	if n > 0 {
		s.spaced(spacing)
	}
	b := Booking{Now: time.UnixMicro(now), Slots: make([]time.Time, n), Ahead: time.Duration(end-now) * time.Microsecond}
	at := s.o.Clock.Local(sent, trip, now, first)
	for i := range b.Slots {
		b.Slots[i] = at.Add(time.Duration(i) * spacing)
	}
	return b, nil
}

// Book books slots for tasks that were fetched and missed theirs.
func (s *Schedule) Book(ctx context.Context, n int) ([]time.Time, error) {
	sent := time.Now()
	a := s.Args()
	reply, err := s.o.DB.Run(ctx, s.o.Script, []string{s.o.Key}, s.o.Worker, a.Rate, a.Booked, n, string(a.First), a.Further).Slice()
	if err != nil {
		return nil, err
	}
	b, err := s.Booked(sent, time.Since(sent), reply)
	return b.Slots, err
}

// Integer reads a number of a script's reply.
func Integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
