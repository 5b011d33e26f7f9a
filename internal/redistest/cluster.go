package redistest

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// slots is how many hash slots a Redis Cluster has.
const slots = 16384

// Cluster is a Redis Cluster of three masters with a replica each.
type Cluster struct {
	Servers []*Server // at the start the first three are the masters

	t testing.TB
}

// StartCluster runs a Redis Cluster, which replaces a master that has been silent for a
// second, and waits until it is whole.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	return StartSecureCluster(t, Access{})
}

// StartSecureCluster is StartCluster with secured servers, which replace a master only after 30 s: no busy machine takes
// so long. With an empty Access they are not secured.
func StartSecureCluster(t testing.TB, access Access) *Cluster {
	t.Helper()
	settings := access.replicated()
	if access.Servers != "" {
		settings = slices.Concat(settings, []string{"--tls-cluster", "yes"})
	}
	const masters = 3
	c := &Cluster{t: t}
	clients := make([]*redis.Client, 2*masters)
	ids := make([]string, 2*masters)
	ctx := t.Context()
	for i := range clients {
		s := start(t, "", slices.Concat(settings, []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000"}), access.Servers)
		clients[i] = s.ask()
		ids[i] = clients[i].ClusterMyID(ctx).Val()
		c.Servers = append(c.Servers, s)
		if i < masters {
			clients[i].ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1)
		}
	}
	for i, one := range clients {
		await(t, "nodes know all", func(ctx context.Context) bool {
			known := clients[0].ClusterNodes(ctx).Val()
			for k, s := range c.Servers { // again, as a node forgets one that does not answer within its time-out
				if host, port, _ := net.SplitHostPort(s.Addr); k > 0 && !strings.Contains(known, s.Addr+"@") {
					clients[0].Do(ctx, "cluster", "meet", host, port, s.bus)
				}
			}
			return strings.Count(one.ClusterNodes(ctx).Val(), " connected") == len(clients)
		})
		if i >= masters {
			await(t, "a replica gets its master", func(ctx context.Context) bool {
				return one.ClusterReplicate(ctx, ids[i-masters]).Err() == nil
			})
		}
	}
	c.AwaitWhole()
	if access.Servers != "" {
		for _, one := range clients {
			if err := one.ConfigSet(ctx, "cluster-node-timeout", patience).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// URL returns the addresses of all nodes as one URL.
func (c *Cluster) URL() string { return "redis-cluster://" + addrs(c.Servers) }

// SecureURL is URL for a user of secured servers.
func (c *Cluster) SecureURL(user string) string {
	return "rediss-cluster://" + user + ":" + Password + "@" + addrs(c.Servers)
}

// Client returns a new client of the Cluster that may do everything, closed at the test's end.
func (c *Cluster) Client() *redis.ClusterClient {
	o := c.Servers[0].options()
	all := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: strings.Split(addrs(c.Servers), ","), Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, DisableIdentity: true,
	})
	c.t.Cleanup(func() { all.Close() })
	return all
}

// AwaitWhole waits until every slot is served by a master that has a replica, and all nodes
// know it.
func (c *Cluster) AwaitWhole() {
	c.t.Helper()
	for _, s := range c.Servers {
		one := s.ask()
		await(c.t, "the cluster is whole", func(ctx context.Context) bool {
			role := one.Info(ctx, "replication").Val()
			follows := strings.Contains(role, "role:master") && strings.Contains(role, "state=online") ||
				strings.Contains(role, "master_link_status:up")
			nodes := one.ClusterNodes(ctx).Val()
			return follows && strings.Contains(one.ClusterInfo(ctx).Val(), "cluster_state:ok") && !strings.Contains(nodes, "fail") &&
				strings.Count(nodes, " connected ") >= 3
		})
	}
}

// MasterOf returns the master that serves key, as a node that is alive sees it.
func (c *Cluster) MasterOf(key string) *Server {
	c.t.Helper()
	var master *Server
	await(c.t, "a master serves "+key, func(ctx context.Context) bool {
		for _, s := range c.Servers {
			if !s.alive() {
				continue
			}
			one := s.ask()
			slot := int(one.ClusterKeySlot(ctx, key).Val())
			for line := range strings.Lines(one.ClusterNodes(ctx).Val()) {
				if f := strings.Fields(line); len(f) > 8 && strings.Contains(f[2], "master") && !strings.Contains(f[2], "fail") && holds(f[8:], slot) {
					master = c.at(f[1])
				}
			}
			return master != nil
		}
		return false
	})
	return master
}

// ReplicaOf returns the replica of the master that serves key.
func (c *Cluster) ReplicaOf(key string) *Server {
	c.t.Helper()
	var replica *Server
	master := c.MasterOf(key)
	await(c.t, "a replica of "+key, func(ctx context.Context) bool {
		replicas, _ := master.ask().Do(ctx, "cluster", "replicas", master.ask().ClusterMyID(ctx).Val()).StringSlice()
		for _, r := range replicas {
			replica = c.at(strings.Fields(r)[1])
		}
		return replica != nil
	})
	return replica
}

// holds tells whether a slot is in one of the ranges of a line of CLUSTER NODES.
func holds(ranges []string, slot int) bool {
	for _, r := range ranges {
		first, last, more := strings.Cut(r, "-")
		from, _ := strconv.Atoi(first)
		to := from
		if more {
			to, _ = strconv.Atoi(last)
		}
		if from <= slot && slot <= to {
			return true
		}
	}
	return false
}

// at returns the server at an address as CLUSTER NODES writes it: host:port@bus.
func (c *Cluster) at(addr string) *Server {
	addr, _, _ = strings.Cut(addr, "@")
	for _, s := range c.Servers {
		if s.Addr == addr {
			return s
		}
	}
	return nil
}
