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

// Durability is what an answered write must survive.
type Durability string

const (
	// Fsync: the write is on the master's disk. It survives a crash, and a failover unless that
	// comes within the moment in which the replica lags.
	Fsync Durability = "fsync"
	// Replica: as Fsync, and a replica has it. It survives a failover too.
	Replica Durability = "replica"
	// Relaxed: whatever Redis is set to; a crash may lose the last moments.
	Relaxed Durability = "relaxed"
	// Asserted: the operator vouches that the write survives, where Redis cannot be asked.
	Asserted Durability = "asserted"
)

// replicasWanted is how many replicas confirm a write where Replica is demanded: with one, a
// master and a replica may not be lost at the same time.
const replicasWanted = 1

// Require demands a durability from now on: of Redis's settings, which are checked on every
// master, and of what Durably and durable batches confirm. Its error names what is wrong and
// the fix. What may be lost all the same it tells in the log.
func (db *DB) Require(ctx context.Context, d Durability, log *slog.Logger) error {
	if d == Replica && db.scripted {
		return errors.New("durability replica needs connections of its own to Redis, and redis.url has transactions=script: through a proxy nobody can tell which writes a replica has. Connect without the proxy, or set redis.durability: asserted to vouch for it yourself")
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
			log.Warn("durability "+string(d)+": "+m.Risk, "redis", m.Addr)
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

// AllowLossAtFailover lets Require accept Fsync on Sentinel or a Cluster: the operator has agreed that
// a failover may lose writes. Call it before Require.
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
	return fmt.Errorf("this Redis does not keep what durability %s promises:\n%w\n(set it in redis.conf and by CONFIG SET, or set redis.durability: relaxed)", d, errors.Join(wrong...))
}

// Master is what was found of one master.
type Master struct {
	Addr     string
	Settings []Setting // those that the durability asks for
	Risk     string    // what may be lost all the same; empty: nothing is known
}

// Setting is one thing that a durability asks of Redis.
type Setting struct {
	Name string // as Redis has it
	Have string
	Want string
	Why  string
	OK   bool
}

// String tells what is wrong with a setting that is not OK.
func (s Setting) String() string {
	return fmt.Sprintf("%s is %q, must be %s: %s", s.Name, s.Have, s.Want, s.Why)
}

// Examine looks at every master, in the order of their addresses, and changes nothing.
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
				m.Risk = "a failover may lose the last moments of accepted messages, and may repeat what was sent in that time; redis.durability: replica prevents it"
			}
		case Relaxed:
			m.Risk = said.window()
		case Asserted:
			m.Risk = "nobody checks that an answered write survives a crash and a failover; the operator vouches for it"
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, m)
		return nil
	})
	slices.SortFunc(all, func(a, b Master) int { return strings.Compare(a.Addr, b.Addr) })
	return all, err
}

// settings are what a server tells of itself by INFO and CONFIG GET, by name. What it does not
// tell is absent.
type settings map[string]string

func settingsOf(ctx context.Context, c redis.UniversalClient, d Durability) (settings, error) {
	s := settings{}
	for _, section := range []string{"server", "memory", "persistence"} {
		text, err := c.Info(ctx, section).Result()
		if err != nil && d != Relaxed { // the Redis of the demo tells nothing
			return nil, fmt.Errorf("ask Redis for INFO %s: %w", section, err)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			if name, value, found := strings.Cut(line, ":"); found {
				s[name] = value
			}
		}
	}
	s["maxmemory-policy"] = s["maxmemory_policy"] // by the name of the setting
	if d == Asserted {
		return s, nil
	}
	for _, name := range []string{"appendonly", "appendfsync", "min-replicas-to-write"} {
		have, err := c.ConfigGet(ctx, name).Result()
		if err != nil && d != Relaxed {
			return nil, fmt.Errorf("ask Redis for its setting %s: %w (where that is forbidden nobody can check what durability %s promises; set redis.durability: asserted to vouch for it yourself)", name, err, d)
		}
		if v, found := have[name]; found {
			s[name] = v
		}
	}
	return s, nil
}

// asked returns what a durability asks for, and whether it is so.
func (s settings) asked(d Durability) []Setting {
	if d == Relaxed {
		return nil
	}
	var all []Setting
	must := func(ok bool, name, want, why string) { all = append(all, Setting{name, s[name], want, why, ok}) }
	major, _, _ := strings.Cut(s["redis_version"], ".")
	n, _ := strconv.Atoi(major)
	must(n >= 7, "redis_version", "7.0 or newer", "only then can a full Redis be drained")
	must(s["maxmemory-policy"] == "noeviction", "maxmemory-policy", `"noeviction"`, "a full Redis would drop waiting messages without a word")
	must(s["maxmemory"] != "0", "maxmemory", "less than the machine has", "else the system ends Redis when memory runs out, and nobody is refused before")
	if d == Asserted {
		return all
	}
	must(s["appendonly"] == "yes", "appendonly", `"yes"`, "a restart would lose accepted messages")
	must(s["appendfsync"] == "always", "appendfsync", `"always"`, "a crash would lose the last second of accepted messages and of recorded sends")
	must(s["aof_last_write_status"] == "ok", "aof_last_write_status", `"ok"`, "Redis cannot write its file; see its log and free the disk")
	if d == Replica {
		n, _ = strconv.Atoi(s["min-replicas-to-write"])
		must(n >= replicasWanted, "min-replicas-to-write", strconv.Itoa(replicasWanted)+" or more", "a master cut off from its replicas would take writes that the next master never sees")
	}
	return all
}

// window says what a crash may lose.
func (s settings) window() string {
	const rest = "of accepted messages, and may repeat what was sent in that time"
	switch {
	case s["appendonly"] == "yes" && s["appendfsync"] == "always":
		return "a crash of Redis loses nothing that it answered, but a failover may lose its last moments " + rest
	case s["appendonly"] == "yes" && s["appendfsync"] == "everysec":
		return "a crash of Redis may lose its last second, or two when the disk is slow, " + rest
	case s["appendonly"] == "yes":
		return "a crash of Redis may lose its last half minute or so " + rest
	case s["appendonly"] == "no":
		return "a crash of Redis may lose everything since its last snapshot " + rest
	}
	return "Redis does not tell how much a crash may lose " + rest
}
