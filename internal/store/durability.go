package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Durability is what a confirmed write must survive.
type Durability string

const (
	// Fsync: the write is on the master's disk. It survives a crash, and also a failover unless that comes in the
	// moment before the replica has the write.
	Fsync Durability = "fsync"
	// Replica: like Fsync, and a replica has the write. It survives a failover too.
	Replica Durability = "replica"
	// Relaxed: as Redis is configured; a crash may lose the latest writes.
	Relaxed Durability = "relaxed"
	// Asserted: the operator guarantees that the write survives, where the settings of Redis cannot be read.
	Asserted Durability = "asserted"
)

// replicasWanted is how many replicas must confirm a write for Replica: with one, a master and a replica must not be
// lost at the same time.
const replicasWanted = 1

// Require demands a durability from now on: of the settings of Redis, which it checks on every master, and of the
// confirmation that Durably and durable batches wait for. Its error says what is wrong and how to fix it. It logs what may
// be lost nevertheless.
func (db *DB) Require(ctx context.Context, d Durability, log *slog.Logger) error {
	if d == Replica && db.scripted {
		return errors.New("durability replica needs connections of its own to Redis, and redis.url has transactions=script: through a proxy Sluice cannot learn which writes a replica has. Connect without the proxy, or set redis.durability: asserted to guarantee it yourself")
	}
	if d == Fsync && db.failsOver() && !db.riskFailover {
		return errors.New("durability fsync does not survive a failover, and redis.url names Sentinels or a Cluster: the next master may lack accepted messages and recorded sends. Set redis.durability: replica, or set redis.failover_may_lose_writes: true to accept that loss")
	}
	masters, err := db.Examine(ctx, d)
	if err != nil {
		return err
	}
	for _, m := range masters {
		if m.Risk != "" {
			log.Warn("redis.durability leaves a risk", "durability", d, "risk", m.Risk, "redis", m.Addr)
		}
	}
	if err := breachOf(masters, d); err != nil {
		return err
	}
	if db.required = d; d == Replica {
		db.replicas = replicasWanted
	}
	return nil
}

// AllowLossAtFailover makes Require accept Fsync on Sentinel or a Cluster: the operator has accepted that a failover
// may lose writes. Call it before Require.
func (db *DB) AllowLossAtFailover() { db.riskFailover = true }

// breachOf returns which settings of masters break a durability, and the fix; nil: none does.
func breachOf(masters []Master, d Durability) error {
	var wrong []error
	for _, m := range masters {
		for _, s := range m.Settings {
			if !s.OK {
				wrong = append(wrong, fmt.Errorf("redis at %s: %s", m.Addr, s))
			}
		}
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("this Redis does not fulfil durability %s:\n%w\n(change the settings in redis.conf and with CONFIG SET, or set redis.durability: relaxed)", d, errors.Join(wrong...))
}

// Master is the result of the examination of one master.
type Master struct {
	Addr     string
	Settings []Setting // that the durability requires
	Risk     string    // what may be lost nevertheless; empty: nothing is known
}

// Setting is a setting of Redis that a durability requires.
type Setting struct {
	Name string // as Redis calls it
	Have string
	Want string
	Why  string
	OK   bool
}

// String says what is wrong with a setting that is not OK.
func (s Setting) String() string {
	return fmt.Sprintf("%s is %q and must be %s: %s", s.Name, s.Have, s.Want, s.Why)
}

// Examine reads the settings of every master, in the order of their addresses, and changes nothing.
func (db *DB) Examine(ctx context.Context, d Durability) ([]Master, error) {
	var mu sync.Mutex
	var all []Master
	err := db.eachMaster(ctx, func(ctx context.Context, c redis.UniversalClient, addr string) error {
		said, err := settingsOf(ctx, c, d)
		if err != nil {
			return err
		}
		m := Master{Addr: addr, Settings: said.asked(d)}
		switch d {
		case Fsync:
			if db.failsOver() {
				m.Risk = "a failover may lose the messages accepted in the last moments, and may repeat what was sent in that time. redis.durability: replica prevents it"
			}
		case Relaxed:
			m.Risk = said.window()
		case Asserted:
			m.Risk = "Sluice does not check that a confirmed write survives a crash and a failover: the operator guarantees it"
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, m)
		return nil
	})
	slices.SortFunc(all, func(a, b Master) int { return strings.Compare(a.Addr, b.Addr) })
	return all, err
}

// settings are the values of INFO and CONFIG GET of a server, by name. A value that the server does not return is
// absent.
type settings map[string]string

func settingsOf(ctx context.Context, c redis.UniversalClient, d Durability) (settings, error) {
	s := settings{}
	for _, section := range []string{"server", "memory", "persistence"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil && d != Relaxed { // the Redis of the demo has no INFO
			return nil, fmt.Errorf("read INFO %s of Redis: %w", section, err)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			if name, value, found := strings.Cut(line, ":"); found {
				s[name] = value
			}
		}
	}
	s["maxmemory-policy"] = s["maxmemory_policy"] // with the name of the setting
	if d == Asserted {
		return s, nil
	}
	for _, name := range []string{"appendonly", "appendfsync", "min-replicas-to-write"} {
		have, err := c.ConfigGet(ctx, name).Result()
		if err != nil && d != Relaxed {
			return nil, fmt.Errorf("read the Redis setting %s: %w (without this command Sluice cannot check durability %s. Permit it, or set redis.durability: asserted to guarantee it yourself)", name, err, d)
		}
		if v, found := have[name]; found {
			s[name] = v
		}
	}
	return s, nil
}

// asked returns the settings that a durability requires, and whether they are right.
func (s settings) asked(d Durability) []Setting {
	if d == Relaxed {
		return nil
	}
	var all []Setting
	must := func(ok bool, name, want, why string) { all = append(all, Setting{name, s[name], want, why, ok}) }
	major, _, _ := strings.Cut(s["redis_version"], ".")
	n, _ := strconv.Atoi(major)
	must(n >= 7, "redis_version", "7.0 or newer", "an older Redis cannot be drained when it is full")
	must(s["maxmemory-policy"] == "noeviction", "maxmemory-policy", `"noeviction"`, "a full Redis would silently drop waiting messages")
	must(s["maxmemory"] != "0", "maxmemory", "less than the machine has", "without a limit the system kills Redis when memory runs out, and no request is refused before that")
	if d == Asserted {
		return all
	}
	must(s["appendonly"] == "yes", "appendonly", `"yes"`, "a restart would lose accepted messages")
	must(s["appendfsync"] == "always", "appendfsync", `"always"`, "a crash would lose the last second of accepted messages and of recorded sends")
	must(s["aof_last_write_status"] == "ok", "aof_last_write_status", `"ok"`, "Redis cannot write its file. See its log, and free disk space")
	if d == Replica {
		n, _ = strconv.Atoi(s["min-replicas-to-write"])
		must(n >= replicasWanted, "min-replicas-to-write", strconv.Itoa(replicasWanted)+" or more", "a master without its replicas would accept writes that the next master does not have")
	}
	return all
}

// window says what a crash may lose.
func (s settings) window() string {
	const rest = "of accepted messages, and may repeat what was sent in that time"
	switch {
	case s["appendonly"] == "yes" && s["appendfsync"] == "always":
		return "a crash of Redis loses no confirmed write, but a failover may lose the last moments " + rest
	case s["appendonly"] == "yes" && s["appendfsync"] == "everysec":
		return "a crash of Redis may lose the last second, or two when the disk is slow, " + rest
	case s["appendonly"] == "yes":
		return "a crash of Redis may lose about the last half minute " + rest
	case s["appendonly"] == "no":
		return "a crash of Redis may lose everything since its last snapshot " + rest
	}
	return "Redis does not report how much a crash may lose " + rest
}
