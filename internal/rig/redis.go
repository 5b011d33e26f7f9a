package rig

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ports"
)

// StartRedis starts a redis-server at addr (empty: a free address) with its data in the rig's
// folder, and waits until it answers. Without args an answered write is on disk. args replace
// its settings.
func (g *Rig) StartRedis(ctx context.Context, addr string, args ...string) (err error) {
	program, err := redisServer()
	if err != nil {
		return err
	}
	if addr == "" {
		if addr, err = ports.Free(); err != nil {
			return err
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	all := append(durable(), "--bind", "127.0.0.1", "--port", port, "--dir", g.Dir)
	all = append(all, args...)
	if g.FileLimit > 0 {
		// ulimit counts in blocks of 512 bytes. A write beyond the limit fails as on a full disk.
		all = append([]string{"-c", `ulimit -f "$0"; trap '' XFSZ; exec "$@"`, strconv.FormatInt(g.FileLimit/512, 10), program}, all...)
		program = "sh"
	}
	if len(g.RedisUnder) > 0 {
		all = append(append(slices.Clone(g.RedisUnder[1:]), program), all...)
		program = g.RedisUnder[0]
	}
	if g.Redis, err = g.Start("redis", g.RedisEnv, program, all...); err != nil {
		return err
	}
	g.Redis.Addr = addr
	if err := g.Redis.Ready(ctx, Dials(addr)); err != nil {
		return err
	}
	return g.Redis.Ready(ctx, pings(addr))
}

func redisServer() (string, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return "", errors.New("redis-server is not installed. A run needs a real Redis: install the redis-server package of your system (7.0 or newer)")
	}
	return program, nil
}

// durable are the settings under which an answered write is on disk.
func durable() []string {
	return []string{
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--auto-aof-rewrite-percentage", "0", // no fork in the middle of a measurement
		"--maxmemory", "12gb", "--maxmemory-policy", "noeviction",
	}
}

// pings returns a probe that succeeds when a Redis at addr answers.
func pings(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DisableIdentity: true})
		defer c.Close()
		return c.Ping(ctx).Err()
	}
}
