package chaos

import (
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/rig"
)

// failoverRows lose a master whose replica takes its place.
var failoverRows = []row{
	{
		id: "C10", fault: "Sentinel: the replica stands still for 300 ms, then the master is lost", n: 3000, takes: 60 * time.Second,
		setup: setup{sentinel: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			master, replica := r.sentinels.Servers[0], r.sentinels.Servers[1]
			r.tell("SIGSTOP to the replica")
			replica.Signal(syscall.SIGSTOP)
			r.pause(300 * time.Millisecond)
			r.tell("kill -9 the master, SIGCONT to the replica")
			master.Kill()
			replica.Signal(syscall.SIGCONT)
			r.until("the replica has become master", func() bool { return role(r, replica) == "master" })
			r.tell("the replica has become master")
			// A master without a replica refuses writes: the old one comes back as one.
			_, err := r.Restart(r.ctx, master)
			r.must(err, "start the old master")
			r.settle()
			r.note("the API was away for %.1f s", r.producer.away.Seconds())
		},
	},
	{
		id: "C12", fault: "Cluster of three and three: a master killed", n: 2000, takes: 60 * time.Second,
		setup: setup{cluster: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			i := r.chance.IntN(3)
			master, replica := r.nodes.Servers[i], r.nodes.Servers[i+3]
			r.tell("kill -9 master %d", i)
			master.Kill()
			r.until("its replica has become master", func() bool { return role(r, replica) == "master" })
			r.tell("its replica has become master")
			_, err := r.RestartNode(r.ctx, r.nodes, master)
			r.must(err, "start the old master")
			r.settle()
		},
	},
}

// role is "master" or "slave".
func role(r *run, p *rig.Process) string {
	c := redis.NewClient(&redis.Options{Addr: p.Addr, DisableIdentity: true})
	defer c.Close()
	info, err := c.InfoMap(r.ctx, "replication").Result()
	if err != nil {
		return ""
	}
	return info["Replication"]["role"]
}
