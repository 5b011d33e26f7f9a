package chaos

import (
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/reshard"
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
			master, replica := r.clusterMaster(r.producer.numbers[0])
			r.step("kill -9 master %s", master.Name)
			master.Kill()
			r.promoted(replica)
			_, err := r.RestartNode(r.ctx, r.nodes, master)
			r.must(err, "start the old master")
			r.settle()
		},
	},
	{
		id: "C32", fault: "Sentinel: the master frozen for 10 s, replaced, and woken", n: 3000, takes: 35 * time.Second,
		setup: setup{sentinel: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			r.freeze(r.sentinels.Servers[0], 10*time.Second)
			r.promoted(r.sentinels.Servers[1:]...)
			r.settle()
		},
	},
	{
		id: "C33", fault: "Cluster of three and three: the master of a number frozen for 10 s, replaced, and woken", n: 3000, takes: 35 * time.Second,
		setup: setup{cluster: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			master, replica := r.clusterMaster(r.producer.numbers[0])
			r.freeze(master, 10*time.Second)
			r.promoted(replica)
			r.settle()
		},
	},
	{
		id: "C34", fault: "Cluster of three and three: the slots of all numbers move to other masters and back", n: 3000, takes: 30 * time.Second,
		setup: setup{cluster: true},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.n / 10)
			keys, began := 0, time.Now()
			homes := map[int64]int{} // by slot: two numbers may share one
			for _, number := range r.producer.numbers {
				homes[r.slot(number)] = r.clusterMasterIndex(number)
			}
			slots := slices.Sorted(maps.Keys(homes))
			for _, slot := range slots {
				keys += r.moveSlot(slot, homes[slot], (homes[slot]+1)%3)
			}
			for _, slot := range slots {
				keys += r.moveSlot(slot, (homes[slot]+1)%3, homes[slot])
			}
			r.step("%d keys have moved in %s", keys, time.Since(began).Round(time.Millisecond))
			r.settle()
			r.note("%d keys moved; a number sent nothing for %.1f s at most", keys, r.silence().Seconds())
		},
	},
}

// clusterMasterIndex returns which of the servers of the Cluster is the master of a number at the start.
func (r *run) clusterMasterIndex(number string) int {
	const slots = 16384
	return int((3*r.slot(number) + 2) / slots)
}

// slot returns the slot of a number's keys.
func (r *run) slot(number string) int64 {
	slot, err := r.db.ClusterKeySlot(r.ctx, events.MetaKey(shards.Of(number))).Result()
	r.must(err, "find the number's slot")
	return slot
}

// clusterMaster returns the master of a number at the start, and its replica.
func (r *run) clusterMaster(number string) (master, replica *rig.Process) {
	i := r.clusterMasterIndex(number)
	return r.nodes.Servers[i], r.nodes.Servers[i+3]
}

// moveSlot moves a slot from one master to another, with a pause between any ten keys, and returns how many keys it moved.
func (r *run) moveSlot(slot int64, from, to int) int {
	client := func(i int) *redis.Client {
		return redis.NewClient(&redis.Options{Addr: r.nodes.Servers[i].Addr, DisableIdentity: true})
	}
	source, target := client(from), client(to)
	defer source.Close()
	defer target.Close()
	keys, err := reshard.Move(r.ctx, slot, source, target, 5*time.Millisecond)
	r.must(err, "move a slot")
	r.step("slot %d has moved from master %d to %d, with %d keys", slot, from, to, keys)
	return keys
}

// silence returns the longest time between two messages of one number that the far side received, while orders came in.
func (r *run) silence() (longest time.Duration) {
	latest := map[string]time.Time{}
	r.must(r.Accepted(r.ctx, func(a graphsim.Accepted) {
		if last, ok := latest[a.Number]; ok && a.Start.Before(r.ordered) {
			longest = max(longest, a.Start.Sub(last))
		}
		latest[a.Number] = a.Start
	}), "read the simulator's messages")
	return longest
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
