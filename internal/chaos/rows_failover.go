package chaos

import (
	"slices"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/rig"
)

// failoverRows lose a master that a replica replaces.
var failoverRows = []row{
	{
		id: "C10", fault: "Sentinel: the replicas are stopped for 300 ms, then the master is lost", n: 3000, takes: 30 * time.Second,
		setup: setup{sentinel: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			master, replicas := r.sentinels.Servers[0], r.sentinels.Servers[1:]
			r.step("SIGSTOP to the replicas")
			for _, p := range replicas {
				p.Signal(syscall.SIGSTOP)
			}
			r.pause(300 * time.Millisecond)
			r.step("kill -9 the master, SIGCONT to the replicas")
			master.Kill()
			for _, p := range replicas {
				p.Signal(syscall.SIGCONT)
			}
			r.promoted(replicas...)
			// Not sooner: an old master that is back before a replica follows the new one accepts writes
			// together with that replica, which are lost when the replica follows the new master.
			r.until("the other replica follows the new master", func() bool {
				return slices.ContainsFunc(replicas, func(p *rig.Process) bool { return replication(r, p)["connected_slaves"] == "1" })
			})
			_, err := r.Restart(r.ctx, r.sentinels, master)
			r.must(err, "start the old master")
			r.settle()
		},
	},
	{
		id: "C11", fault: "Sentinel: for 15 s only the programs reach the old master", n: 3000, takes: 55 * time.Second,
		setup: setup{sentinel: true},
		play: func(r *run) {
			r.cutMasterOff()
			r.settle()
		},
	},
	{
		id: "C12", fault: "Cluster of three and three: the master of a number killed", n: 2000, takes: 25 * time.Second,
		setup: setup{cluster: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			const slots = 16384
			slot, err := r.db.ClusterKeySlot(r.ctx, events.MetaKey(shards.Of(r.producer.numbers[0]))).Result()
			r.must(err, "find the number's master")
			i := int((3*slot + 2) / slots)
			master, replica := r.nodes.Servers[i], r.nodes.Servers[i+3]
			r.step("kill -9 master %d", i)
			master.Kill()
			r.promoted(replica)
			_, err = r.RestartNode(r.ctx, r.nodes, master)
			r.must(err, "start the old master")
			r.settle()
		},
	},
}

// cutMasterOff sends messages, lets only the programs reach the master for 15 s, and lets a replica replace it.
func (r *run) cutMasterOff() {
	r.order(r.n, r.pace())
	r.receives(r.moments(1)[0])
	master := r.sentinels.Servers[0]
	r.step("cut the programs and the master off from the rest")
	for addr, l := range r.links {
		if addr == master.Addr {
			l.cutOff(servers)
		} else {
			l.cutOff(programs)
		}
	}
	began := time.Now()
	r.promoted(r.sentinels.Servers[1:]...)
	r.check(role(r, master) == "master", "there is no second master, so the row proves nothing")
	r.pause(15*time.Second - time.Since(began))
	r.step("repair the link")
	for _, l := range r.links {
		l.repair()
	}
}

// promoted waits until one of the replicas is a master.
func (r *run) promoted(replicas ...*rig.Process) {
	r.until("a replica has become master", func() bool {
		return slices.ContainsFunc(replicas, func(p *rig.Process) bool { return role(r, p) == "master" })
	})
	r.step("a replica has become master")
}

// role returns "master" or "slave", or "" if the server does not answer.
func role(r *run, p *rig.Process) string { return replication(r, p)["role"] }

func replication(r *run, p *rig.Process) map[string]string {
	c := redis.NewClient(&redis.Options{Addr: p.Addr, DisableIdentity: true})
	defer c.Close()
	info, err := c.InfoMap(r.ctx, "replication").Result()
	if err != nil {
		return nil
	}
	return info["Replication"]
}
