package queue

import (
	"context"
	"strconv"
	"time"

	"sluice/internal/pacing"
)

// clockSet is how far ahead a booking of this worker's cannot lie, unless somebody has set Redis's clock back.
const clockSet = 5 * time.Second

// slotArgs is what taking and booking slots must know.
type slotArgs struct {
	rate    int
	booked  int64 // end of this worker's last booking, us
	further int64 // how much further than usual to book, us
	first   byte  // '1' when this worker serves the number, else '0'
}

func (g *gate) slotArgs(n *number) slotArgs {
	first := byte('0')
	if g.first(n.id) { // before n.mu: placement holds its own lock while it asks for n.mu
		first = '1'
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slotArgs{n.rate, n.booked, n.further().Microseconds(), first}
}

// answeredIn notes how long Redis took. The first time says all that is known yet of how long
// an attempt takes to be written down. The caller holds n.mu.
func (n *number) answeredIn(trip time.Duration) {
	if n.trip == 0 {
		n.trip = trip
		n.line.Expect(trip)
	}
	n.trip += (trip - n.trip) / 8
}

// further is pacing.Further of this number. The caller holds n.mu.
func (n *number) further() time.Duration { return pacing.Further(n.trip, n.line.Prep()) }

// redisTime is about what Redis's clock reads at a time; zero: it was not asked yet. The caller
// holds n.mu.
func (n *number) redisTime(at time.Time) time.Time {
	if n.redisAt.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(n.redisNow).Add(at.Sub(n.redisAt))
}

// booking is what the scripts reply about slots.
type booking struct {
	now, first, spacing int64 // us
	slots               int
}

func readBooking(reply []any) booking {
	now := 1_000_000*integer(reply[0]) + integer(reply[1])
	return booking{now, now + integer(reply[2]), integer(reply[3]), int(integer(reply[4]))}
}

// integer reads a number of a reply.
func integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

// texts reads a list of a reply, which may be missing.
func texts(v any) (all []string) {
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// slots are those of a booking.
func (g *gate) slots(n *number, sent time.Time, trip time.Duration, b booking) []time.Time {
	spacing := time.Duration(b.spacing) * time.Microsecond
	n.mu.Lock()
	n.redisNow, n.redisAt = b.now, sent.Add(trip/2)
	n.answeredIn(trip)
	if b.slots > 0 {
		end := b.first + int64(b.slots)*b.spacing
		if n.booked = max(n.booked, end); n.booked > end+clockSet.Microseconds() {
			n.booked = end
		}
		n.busy = time.Now()
		n.spacing = spacing
	}
	n.mu.Unlock()
	at := g.clock.Local(sent, trip, b.now, b.first)
	slots := make([]time.Time, b.slots)
	for i := range slots {
		slots[i] = at.Add(time.Duration(i) * spacing)
	}
	return slots
}

// bookSlots books slots for tasks in hand that missed theirs.
func (g *gate) bookSlots(ctx context.Context, n *number, count int) ([]time.Time, error) {
	sent := time.Now()
	a := g.slotArgs(n)
	reply, err := g.db.Run(ctx, g.book, []string{n.schedule}, g.o.Worker, a.rate, a.booked, count, string(a.first), a.further).Slice()
	if err == nil && len(reply) < 5 {
		err = errReply
	}
	if err != nil {
		return nil, err
	}
	return g.slots(n, sent, time.Since(sent), readBooking(reply)), nil
}
