package chaos

import (
	"errors"
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// clockRows set clocks: the clock of Redis, which decides, and those of programs, which must not matter.
var clockRows = []row{
	{
		id: "C30", fault: "Redis's clock 60 s back, then 60 s ahead, while Meta refuses messages as too fast", n: 800, takes: 15 * time.Second,
		setup: setup{faults: unhurried},
		play: func(r *run) {
			for _, d := range []time.Duration{-time.Minute, time.Minute} {
				r.order(r.n/2, r.pace()/4) // on a busy machine all others have left before the first clock is set
				r.receives(r.received() + r.n/5)
				r.tooFast()
				if !r.setClock(r.Redis, d) {
					break
				}
				began := time.Now()
				r.receives(r.received() + r.n/10)
				r.check(time.Since(began) < 8*time.Second, "%s passed until %d more messages were sent", time.Since(began), r.n/10)
			}
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(!wasInDoubt(rec), "%s was in doubt, though no worker died and every answer came", id)
			}
		},
	},
	{
		id: "C31", fault: "the clocks of the producer, a worker and the webhook program 5 min ahead, then 5 min behind; Meta's answers get lost", n: 600, takes: 15 * time.Second,
		setup: setup{faults: graphsim.Faults{Latency: quick.Latency, Lost: 0.05}},
		play: func(r *run) {
			for _, d := range []time.Duration{5 * time.Minute, -5 * time.Minute} {
				r.order(r.n/2, r.pace()/5) // on a busy machine all others have left before the first clock is set
				r.receives(r.received() + r.n/4)
				for _, p := range []*rig.Process{r.others["producer"], r.others["webhook"], r.workers[0]} {
					if !r.setClock(p, d) {
						break
					}
					r.until("the program is not ready and gives the reason", func() bool { return r.unready(p, "the clock of Redis") })
				}
			}
			r.settle()
			deadline := message.DefaultPolicy(message.Service).Deadline
			for _, o := range r.producer.taken() {
				id := o.ID
				rec, err := r.book.Get(r.ctx, id)
				r.must(err, "read a record")
				d := rec.ExpiresAt.Sub(rec.AcceptedAt) - deadline
				r.check(d.Abs() < 3*time.Second, "the deadline of %s is %s off", id, d)
				r.check(rec.State == message.Delivered || rec.State == message.Read, "%s is %s, and Meta reported that it was delivered", id, rec.State)
			}
		},
	},
}

// tooFast lets Meta refuse messages as too fast for a moment, so that the numbers pause.
func (r *run) tooFast() {
	r.misbehave(graphsim.Faults{Latency: r.setup.faults.Latency, Throttle: 1})
	most := r.refusals("130429") + 2*r.setup.numbers
	r.until("messages are refused as too fast", func() bool { return r.refusals("130429") >= most })
	r.misbehave(r.setup.faults)
}

// setClock sets the clock of a process to d from now. If that is not possible it adds a note and returns false.
func (r *run) setClock(p *rig.Process, d time.Duration) bool {
	r.step("set the clock of %s %d to %s from now", p.Name, p.PID(), d)
	err := rig.SetClock(p.PID(), d)
	if errors.Is(err, rig.ErrNoClock) {
		r.note("%v", err)
		return false
	}
	r.must(err, "set a clock")
	return true
}
