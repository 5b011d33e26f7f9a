package rig

import (
	"context"
	"errors"
	"net"
	"os/exec"

	"github.com/redis/go-redis/v9"
)

// StartRedis starts a redis-server at addr (empty: a free one) with its data in the rig's
// folder, and waits until it answers. Without further arguments an answered write is on disk;
// the further ones win.
func (g *Rig) StartRedis(ctx context.Context, addr string, args ...string) (err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("redis-server is not installed, and only a real Redis is worth a run: install your system's redis-server package (7.0 or newer)")
	}
	if addr == "" {
		if addr, err = FreeAddr(); err != nil {
			return err
		}
	}
	_, port, _ := net.SplitHostPort(addr)
	all := []string{
		"--bind", "127.0.0.1", "--port", port, "--dir", g.Dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always",
		"--auto-aof-rewrite-percentage", "0", // no fork in the middle of a measurement
		"--maxmemory", "12gb", "--maxmemory-policy", "noeviction",
	}
	if g.Redis, err = g.Start("redis", nil, program, append(all, args...)...); err != nil {
		return err
	}
	g.Redis.Addr = addr
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DisableIdentity: true})
	defer c.Close()
	return g.Redis.Ready(ctx, func(ctx context.Context) error { return c.Ping(ctx).Err() })
}
