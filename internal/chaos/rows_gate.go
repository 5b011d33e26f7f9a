package chaos

import (
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/queue"
)

// gateRows are about the way from a queue to the connection.
var gateRows = []row{
	{
		id: "C50", fault: "Meta answers after 2 s, with more messages in hand than connections, and then at once", n: 4000, takes: 20 * time.Second,
		setup: setup{workers: 1, numbers: 16, rate: 50},
		play: func(r *run) {
			r.order(r.n, 2000)
			r.receives(r.n / 4)
			r.misbehave(graphsim.Faults{Latency: graphsim.Span{Min: 2 * time.Second}})
			most := int64(0)
			r.until("more messages are in hand than there may be connections", func() bool {
				n, err := queue.CountActive(r.ctx, r.db)
				most = max(most, n)
				return err == nil && n > connections+50
			})
			r.pause(time.Second)
			r.misbehave(quick) // I6 looks at what arrives from here on
			r.settle()
			r.note("%d messages in hand at %d connections", most, connections)
		},
	},
}

// connections is how many a worker opens to Meta at most.
const connections = 512
