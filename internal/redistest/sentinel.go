package redistest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// replicated are the settings of a server whose writes must reach a replica to count: a
// master without one refuses writes after 3 s. The rest makes replicas follow at once.
var replicated = append(append([]string{}, Settings...),
	"--min-replicas-to-write", "1", "--min-replicas-max-lag", "3",
	"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
)

// replicated are the settings of the servers, with the user by which they follow each other.
func (a Access) replicated() []string {
	if a.Servers == "" {
		return replicated
	}
	return slices.Concat(replicated, []string{"--masteruser", "replica", "--masterauth", Password})
}

// masterName is what the sentinels call their master.
const masterName = "sluice"

// Sentinel is a master, its replicas and three sentinels that watch over them.
type Sentinel struct {
	Servers   []*Server // at the start the first is the master
	Sentinels []*Server

	t   testing.TB
	ask *redis.SentinelClient // the first of them
}

// StartSentinel runs a master with so many replicas and three sentinels, which replace a
// master that has been silent for a second, and waits until all know each other.
func StartSentinel(t testing.TB, replicas int) *Sentinel {
	t.Helper()
	return StartSecureSentinel(t, replicas, Access{})
}

// StartSecureSentinel is StartSentinel with secured servers and Sentinels, which replace a master only after 30 s: no busy
// machine takes so long. With an empty Access they are not secured.
func StartSecureSentinel(t testing.TB, replicas int, access Access) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t}
	settings := access.replicated()
	master := start(t, "", settings, access.Servers)
	host, port, _ := net.SplitHostPort(master.Addr)
	s.Servers = append(s.Servers, master)
	for range replicas {
		s.Servers = append(s.Servers, start(t, "", slices.Concat(settings, []string{"--replicaof", host + " " + port}), access.Servers))
	}
	await(t, "replicas follow", func(ctx context.Context) bool {
		return strings.Count(master.ask().Info(ctx, "replication").Val(), "state=online") == replicas
	})
	silent := "1000"
	if access.Servers != "" {
		silent = patience
	}
	config := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\nsentinel down-after-milliseconds %[1]s %[4]s\nsentinel failover-timeout %[1]s 5000\n", masterName, host, port, silent)
	if access.Servers != "" {
		config += fmt.Sprintf("sentinel auth-user %[1]s sentinel\nsentinel auth-pass %[1]s %[2]s\nsentinel sentinel-user sentinel\nsentinel sentinel-pass %[2]s\n", masterName, Password)
	}
	for range 3 {
		s.Sentinels = append(s.Sentinels, start(t, config, []string{"--sentinel"}, access.Sentinels))
	}
	for _, one := range s.Sentinels {
		c := redis.NewSentinelClient(one.options())
		t.Cleanup(func() { c.Close() })
		s.ask = cmp.Or(s.ask, c)
		await(t, "sentinels know all", func(ctx context.Context) bool {
			m := c.Master(ctx, masterName).Val()
			return m["num-slaves"] == fmt.Sprint(replicas) && m["num-other-sentinels"] == "2"
		})
	}
	return s
}

// URL returns the addresses of the sentinels as one URL.
func (s *Sentinel) URL() string { return "redis-sentinel://" + addrs(s.Sentinels) + "/" + masterName }

// SecureURL is URL for a user of secured servers that the Sentinels have too.
func (s *Sentinel) SecureURL(user string) string {
	return "rediss-sentinel://" + user + ":" + Password + "@" + addrs(s.Sentinels) + "/" + masterName +
		"?sentinel_user=" + user + "&sentinel_password=" + Password
}

// Master asks a sentinel which server is the master now.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	var master *Server
	await(s.t, "a sentinel names a master", func(ctx context.Context) bool {
		at, err := s.ask.GetMasterAddrByName(ctx, masterName).Result()
		for _, one := range s.Servers {
			if err == nil && one.Addr == net.JoinHostPort(at[0], at[1]) {
				master = one
			}
		}
		return master != nil
	})
	return master
}

// Await waits until another server than old is the master.
func (s *Sentinel) Await(old *Server) *Server {
	s.t.Helper()
	var now *Server
	await(s.t, "a failover", func(ctx context.Context) bool {
		now = s.Master()
		return now != old && strings.Contains(now.ask().Info(ctx, "replication").Val(), "role:master")
	})
	return now
}

func addrs(servers []*Server) string {
	all := make([]string, len(servers))
	for i, s := range servers {
		all[i] = s.Addr
	}
	return strings.Join(all, ",")
}
