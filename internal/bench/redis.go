package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// startRedis starts a redis-server on a free port with its data in dir.
func startRedis(ctx context.Context, dir, durability string, env []string) (*process, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed, and load is only worth measuring on a real Redis: install your system's redis-server package (7.0 or newer)")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	fsync := "everysec"
	if durability == Fsync {
		fsync = "always"
	}
	p, err := start("redis-server", dir, env, program,
		"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", fsync,
		"--auto-aof-rewrite-percentage", "0", // no fork in the middle of a measurement
		"--maxmemory", "12gb", "--maxmemory-policy", "noeviction")
	if err != nil {
		return nil, err
	}
	p.addr = addr
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DisableIdentity: true})
	defer c.Close()
	if err := p.ready(ctx, func(ctx context.Context) error { return c.Ping(ctx).Err() }); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// info returns the numbers of INFO's sections.
func info(ctx context.Context, c redis.Cmdable, sections ...string) (map[string]float64, error) {
	numbers := map[string]float64{}
	for _, s := range sections {
		text, err := c.Info(ctx, s).Result()
		if err != nil {
			return nil, fmt.Errorf("info %s: %w", s, err)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			name, value, _ := strings.Cut(line, ":")
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				numbers[name] = f
			}
		}
	}
	return numbers, nil
}
