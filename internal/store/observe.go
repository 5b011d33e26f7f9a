package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

const (
	// watchEvery is how often Observe asks Redis while Fullness is in use, and watchIdle while it is not.
	watchEvery = time.Second
	watchIdle  = 5 * time.Second
	// checkEvery is how often Observe compares the settings of every master with the required durability.
	// It also does so whenever a master has a new run id.
	checkEvery = time.Minute
	// ClockWarn and ClockFail are the differences between the clock of this machine and that of a master
	// at which Observe warns, and at which Fit fails.
	ClockWarn = 2 * time.Second
	ClockFail = time.Minute
)

// watch is the latest result of Observe.
type watch struct {
	wanted atomic.Bool // Fullness was called since Observe last asked

	mu      sync.Mutex
	masters map[string]vitals // by address
	up      map[string]bool   // whether each address answered the latest question
	breach  error             // what breaks the required durability; nil: nothing that is known
	checked time.Time         // when the settings were last compared; zero: never
}

// vitals are values from the INFO of a master.
type vitals struct {
	memory  Memory
	run     string        // run id
	replica bool          // it has become a replica and refuses writes
	online  int           // replicas that are connected and have its data
	unsaved bool          // its last write to disk failed: the append-only file, its rewrite, or the snapshot
	offset  time.Duration // how far the master's clock is ahead of this machine's
	read    time.Time     // when INFO was read, by this machine's clocks
	warned  bool          // the offset is logged
}

// Observe reads the memory use and the clock of every master, and whether its settings still fulfil what Require
// demanded, until ctx ends. It reads each second while Fullness is in use, otherwise every 5 s. It compares the settings
// each minute, at each new run id, and while they break the durability. It logs changes and returns nil.
func (db *DB) Observe(ctx context.Context, log *slog.Logger) error {
	if db.header == "" { // the Redis of the demo has no INFO
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var read time.Time
	for {
		if db.watch.wanted.Swap(false) || time.Since(read) > watchIdle-watchEvery/2 {
			read = time.Now()
			db.observeOnce(ctx, log)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// observeOnce is one round of Observe.
func (db *DB) observeOnce(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 5*watchEvery)
	defer cancel()
	found, silent := db.readVitals(ctx)
	db.watch.mu.Lock()
	db.watch.noteUp(found, silent)
	before := db.watch.masters
	check := db.watch.breach != nil || time.Since(db.watch.checked) >= checkEvery
	for addr, v := range found {
		check = check || v.run != before[addr].run
		off := v.offset.Abs() >= ClockWarn
		if off && !before[addr].warned {
			log.Warn("the clocks of this machine and of Redis differ", "redis", addr, "redis_ahead_seconds", v.offset.Seconds())
		}
		v.warned = off
		found[addr] = v
	}
	db.watch.masters = found
	db.watch.mu.Unlock()
	if check && len(found) > 0 {
		db.recheck(ctx, log)
	}
}

// noteUp records which masters answered. Where no server of a Cluster says which masters it has, none answered. The caller
// holds w.mu.
func (w *watch) noteUp(found map[string]vitals, silent []string) {
	if len(found)+len(silent) == 0 {
		silent = slices.Collect(maps.Keys(w.up))
	}
	w.up = map[string]bool{}
	for _, addr := range silent {
		w.up[addr] = false
	}
	for addr := range found {
		w.up[addr] = true
	}
}

// recheck compares the settings of every master with the required durability. If a master does not answer, the
// result stays as it is, and the next round repeats the check.
func (db *DB) recheck(ctx context.Context, log *slog.Logger) {
	masters, err := db.Examine(ctx, db.required)
	if err != nil {
		if ctx.Err() == nil {
			log.Warn("cannot check the durability settings of Redis", "err", err)
		}
		return
	}
	breach := breachOf(masters, db.required)
	db.watch.mu.Lock()
	before := db.watch.breach
	db.watch.breach, db.watch.checked = breach, time.Now()
	db.watch.mu.Unlock()
	switch {
	case breach != nil && before == nil:
		log.Error("Redis settings do not fulfil redis.durability: this program is not ready, and the API accepts no messages", "durability", db.required, "err", breach)
	case breach == nil && before != nil:
		log.Info("Redis settings fulfil redis.durability again", "durability", db.required)
	}
}

// Breach returns what breaks the required durability, as Observe found it; nil if nothing does. It sends nothing to
// Redis.
func (db *DB) Breach() error {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	return db.watch.breach
}

// Fit returns why the program must not work with this Redis, as Observe found it: broken durability, no server that
// accepts writes, or a clock that is a minute off; nil if it may. It sends nothing to Redis.
func (db *DB) Fit() error {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	errs := []error{db.watch.breach}
	replicas := 0
	for addr, v := range db.watch.masters {
		if v.replica {
			replicas++
		}
		if v.offset.Abs() >= ClockFail {
			errs = append(errs, fmt.Errorf("the clock of Redis at %s is %s ahead of this machine's (negative: behind). Run NTP (chrony, systemd-timesyncd) on both machines", addr, v.offset.Round(time.Second)))
		}
	}
	if replicas > 0 && replicas == len(db.watch.masters) {
		errs = append(errs, errors.New("redis.url leads to a replica, which refuses writes. Let it lead to the master, or to the Sentinels"))
	}
	return errors.Join(errs...)
}

// ClockOffset returns how far Redis's clock is ahead of this machine's wall clock, as Observe found it: 0 while they
// agree, or before the first comparison. It follows this machine's clock when that is set. In a Cluster it is the offset of
// one master. It sends nothing to Redis.
func (db *DB) ClockOffset() time.Duration {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	addrs := slices.Sorted(maps.Keys(db.watch.masters))
	if len(addrs) == 0 {
		return 0
	}
	v := db.watch.masters[addrs[0]]
	return v.offset - stepped(v.read, time.Now())
}

// stepped returns by how much this machine's wall clock was set forward between two times; 0 if the difference is noise.
func stepped(then, now time.Time) time.Duration {
	step := now.Round(0).Sub(then.Round(0)) - now.Sub(then)
	if then.IsZero() || step.Abs() < clockJump {
		return 0
	}
	return step
}

// Fullness returns the share of its memory that the master of key used in the latest reading of Observe: 0 if there
// is no limit or no reading yet. It sends nothing to Redis.
func (db *DB) Fullness(ctx context.Context, key string) float64 {
	db.watch.wanted.Store(true)
	addr, err := db.Master(ctx, key)
	if err != nil {
		return 0
	}
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	return db.watch.masters[addr].memory.Share()
}

// RunID returns the run id of the master of key. It differs after a restart or a failover, which can have lost writes. It is
// empty if the master does not answer.
func (db *DB) RunID(ctx context.Context, key string) string {
	addr, err := db.Master(ctx, key)
	if err != nil {
		return ""
	}
	all, _ := db.readVitals(ctx)
	return all[addr].run
}

// readVitals reads the vitals of every master, by address, and returns the addresses of those that do not answer.
func (db *DB) readVitals(ctx context.Context) (all map[string]vitals, silent []string) {
	var mu sync.Mutex
	all = map[string]vitals{}
	db.eachMaster(ctx, func(ctx context.Context, c redis.UniversalClient, addr string) error {
		v, err := vitalsOf(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			all[addr] = v
		} else {
			silent = append(silent, addr)
		}
		return nil
	})
	return all, silent
}

func vitalsOf(ctx context.Context, c redis.UniversalClient) (v vitals, err error) {
	sent := time.Now()
	text, err := c.Info(ctx, "memory", "server", "replication", "persistence").Result()
	if err != nil {
		return v, err
	}
	answered := time.Now()
	for line := range strings.SplitSeq(text, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "used_memory":
			v.memory.Used, _ = strconv.ParseInt(value, 10, 64)
		case "maxmemory":
			v.memory.Max, _ = strconv.ParseInt(value, 10, 64)
		case "total_system_memory":
			v.memory.Machine, _ = strconv.ParseInt(value, 10, 64)
		case "run_id":
			v.run = value
		case "role":
			v.replica = value == "slave"
		case "aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status":
			v.unsaved = v.unsaved || value != "ok"
		case "server_time_usec":
			if us, err := strconv.ParseInt(value, 10, 64); err == nil {
				v.offset, v.read = offset(time.UnixMicro(us), sent, answered), answered
			}
		}
		if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=online") { // slave0, slave1, ...
			v.online++
		}
	}
	return v, nil
}

// offset returns how far a clock that was read between sent and answered is ahead of this machine's wall clock: only
// as much as is certain.
func offset(server, sent, answered time.Time) time.Duration {
	sent, answered = sent.Round(0), answered.Round(0)
	switch {
	case server.After(answered):
		return server.Sub(answered)
	case server.Before(sent):
		return server.Sub(sent)
	}
	return 0
}

var (
	memoryDesc = prometheus.NewDesc("sluice_redis_memory_ratio",
		"Share of maxmemory that a Redis master uses. redis: its host:port. Above 0.75 the API accepts no messages.", []string{"redis"}, nil)
	offsetDesc = prometheus.NewDesc("sluice_redis_clock_offset_seconds",
		"How far the clock of a Redis master is ahead of this machine's clock. Negative: behind. redis: its host:port. At a difference of 60 s or more /readyz of the program fails.", []string{"redis"}, nil)
	upDesc = prometheus.NewDesc("sluice_redis_up",
		"1: a Redis master answers this process. 0: it did not, the last time that the process asked: every 5 s or less. redis: its host:port.", []string{"redis"}, nil)
	unsavedDesc = prometheus.NewDesc("sluice_redis_persistence_failed",
		"1: a Redis master could not write its append-only file, the rewrite of this file, or its snapshot, the last time it tried. redis: its host:port. Its log says why.", []string{"redis"}, nil)
	onlineDesc = prometheus.NewDesc("sluice_redis_replicas",
		"Replicas that are connected to a Redis master and have its data. redis: its host:port.", []string{"redis"}, nil)
	breachDesc = prometheus.NewDesc("sluice_redis_durability_broken",
		"1: Redis is configured less safely than redis.durability demands, the program is not ready and the API accepts no messages. 0: the settings are right.", nil, nil)
)

// Describe implements prometheus.Collector.
func (w *watch) Describe(ch chan<- *prometheus.Desc) {
	ch <- memoryDesc
	ch <- offsetDesc
	ch <- upDesc
	ch <- unsavedDesc
	ch <- onlineDesc
	ch <- breachDesc
}

// Collect implements prometheus.Collector.
func (w *watch) Collect(ch chan<- prometheus.Metric) {
	w.mu.Lock()
	masters, up, broken := maps.Clone(w.masters), maps.Clone(w.up), w.breach != nil
	w.mu.Unlock()
	is := map[bool]float64{true: 1}
	ch <- prometheus.MustNewConstMetric(breachDesc, prometheus.GaugeValue, is[broken])
	for addr, v := range up {
		ch <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, is[v], addr)
	}
	for addr, v := range masters {
		ch <- prometheus.MustNewConstMetric(unsavedDesc, prometheus.GaugeValue, is[v.unsaved], addr)
		ch <- prometheus.MustNewConstMetric(onlineDesc, prometheus.GaugeValue, float64(v.online), addr)
		ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, v.memory.Share(), addr)
		ch <- prometheus.MustNewConstMetric(offsetDesc, prometheus.GaugeValue, v.offset.Seconds(), addr)
	}
}
