package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ports"
)

// downAfter is after how many milliseconds without an answer a master is replaced.
const downAfter = "2000"

// masterName is what the Sentinels call their master.
const masterName = "sluice"

// Sentinels is a master, two replicas and three Sentinels.
type Sentinels struct {
	Servers []*Process // at the start the first is the master
	URL     string

	watchers  []string          // the announced addresses of the Sentinels
	announced map[string]string // the announced address of the server at an address
	announce  func(addr string) (string, error)
}

// replicatedArgs are the settings of a master that accepts writes only while a replica is connected.
func replicatedArgs() []string {
	return append(durable(), "--min-replicas-to-write", "1", "--min-replicas-max-lag", "3",
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
}

// node starts a redis-server with a folder of its own.
func (g *Rig) node(ctx context.Context, name, addr string, args ...string) (*Process, error) {
	dir := filepath.Join(g.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	all := append([]string{}, args...)
	all = append(all, "--bind", "127.0.0.1", "--port", port, "--dir", dir)
	program, err := redisServer()
	if err != nil {
		return nil, err
	}
	p, err := g.Start(name, nil, program, all...)
	if err != nil {
		return nil, err
	}
	p.Addr = addr
	return p, p.Ready(ctx, pings(addr))
}

// StartSentinels starts a master, two replicas and three Sentinels, and waits until they have found
// each other. Each of them announces the address that announce returns for its own address.
func (g *Rig) StartSentinels(ctx context.Context, announce func(addr string) (string, error)) (*Sentinels, error) {
	s := &Sentinels{announced: map[string]string{}, announce: announce}
	for i := range 3 {
		addr, err := s.address()
		if err != nil {
			return nil, err
		}
		args := s.args(addr)
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.announced[s.Servers[0].Addr])
			args = append(args, "--replicaof", host+" "+port)
		}
		p, err := g.node(ctx, fmt.Sprintf("redis-%d", i), addr, args...)
		if err != nil {
			return nil, err
		}
		s.Servers = append(s.Servers, p)
	}
	host, port, _ := net.SplitHostPort(s.announced[s.Servers[0].Addr])
	for i := range 3 {
		addr, err := s.address()
		if err != nil {
			return nil, err
		}
		myHost, myPort, _ := net.SplitHostPort(s.announced[addr])
		config := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s %[4]s\nsentinel failover-timeout %[1]s 10000\n"+
			"sentinel announce-ip %[5]s\nsentinel announce-port %[6]s\n", masterName, host, port, downAfter, myHost, myPort)
		file := filepath.Join(g.Dir, fmt.Sprintf("sentinel-%d.conf", i))
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return nil, err
		}
		if _, err := g.node(ctx, fmt.Sprintf("sentinel-%d", i), addr, file, "--sentinel"); err != nil {
			return nil, err
		}
		s.watchers = append(s.watchers, s.announced[addr])
	}
	s.URL = "redis-sentinel://" + strings.Join(s.watchers, ",") + "/" + masterName
	for _, addr := range s.watchers {
		c := redis.NewSentinelClient(&redis.Options{Addr: addr, DisableIdentity: true})
		err := await(ctx, "each Sentinel has found the other servers", func() bool {
			m := c.Master(ctx, masterName).Val()
			return m["num-slaves"] == "2" && m["num-other-sentinels"] == "2"
		})
		c.Close()
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// address is a free address, announced.
func (s *Sentinels) address() (string, error) {
	addr, err := ports.Free()
	if err != nil {
		return "", err
	}
	s.announced[addr], err = s.announce(addr)
	return addr, err
}

func (s *Sentinels) args(addr string) []string {
	host, port, _ := net.SplitHostPort(s.announced[addr])
	return append(replicatedArgs(), "--replica-announce-ip", host, "--replica-announce-port", port)
}

// Restart starts a server of the Sentinels again, with its data.
func (g *Rig) Restart(ctx context.Context, s *Sentinels, p *Process) (*Process, error) {
	return g.node(ctx, p.Name, p.Addr, s.args(p.Addr)...)
}

// Cluster is a Redis Cluster of three masters with a replica each.
type Cluster struct {
	Servers []*Process // at the start the first three are the masters
	URL     string
	bus     map[string]string // the bus port of each address
}

// StartCluster starts a Redis Cluster and waits until it is complete.
func (g *Rig) StartCluster(ctx context.Context) (*Cluster, error) {
	const masters, slots = 3, 16384
	c := &Cluster{bus: map[string]string{}}
	var addrs []string
	var clients []*redis.Client
	for i := range 2 * masters {
		addr, err := ports.Free()
		if err != nil {
			return nil, err
		}
		bus, err := ports.Free()
		if err != nil {
			return nil, err
		}
		_, c.bus[addr], _ = net.SplitHostPort(bus)
		p, err := g.node(ctx, fmt.Sprintf("node-%d", i), addr, c.args(addr)...)
		if err != nil {
			return nil, err
		}
		c.Servers, addrs = append(c.Servers, p), append(addrs, addr)
		one := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
		defer one.Close()
		clients = append(clients, one)
		if i < masters {
			if err := one.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			host, port, _ := net.SplitHostPort(addr)
			if err := clients[0].Do(ctx, "cluster", "meet", host, port, c.bus[addr]).Err(); err != nil {
				return nil, err
			}
		}
	}
	c.URL = "redis-cluster://" + strings.Join(addrs, ",")
	for i, one := range clients {
		err := await(ctx, "each node has found the others", func() bool {
			return strings.Count(one.ClusterNodes(ctx).Val(), " connected") == len(clients)
		})
		if err == nil && i >= masters {
			id := clients[i-masters].ClusterMyID(ctx).Val()
			err = await(ctx, "a replica gets its master", func() bool { return one.ClusterReplicate(ctx, id).Err() == nil })
		}
		if err != nil {
			return nil, err
		}
	}
	for _, one := range clients {
		err := await(ctx, "the cluster is complete", func() bool {
			role := one.Info(ctx, "replication").Val()
			follows := strings.Contains(role, "state=online") || strings.Contains(role, "master_link_status:up")
			return follows && strings.Contains(one.ClusterInfo(ctx).Val(), "cluster_state:ok")
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) args(addr string) []string {
	return append(replicatedArgs(), "--cluster-enabled", "yes", "--cluster-node-timeout", downAfter, "--cluster-port", c.bus[addr])
}

// RestartNode starts a node of the Cluster again, with its data.
func (g *Rig) RestartNode(ctx context.Context, c *Cluster, p *Process) (*Process, error) {
	return g.node(ctx, p.Name, p.Addr, c.args(p.Addr)...)
}

// await waits until done returns true, 30 s at most.
func await(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not within 30 s: "+what))
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
