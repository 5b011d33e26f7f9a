package store

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// memoryEvery is how often Redis is asked how full it is; memoryIdle, by a program that does not
// want to know and has it in its metrics only.
const (
	memoryEvery = time.Second
	memoryIdle  = 5 * time.Second
)

// memory is how full each master was when last asked.
type memory struct {
	wanted atomic.Bool // somebody called Fullness since
	mu     sync.Mutex
	ratio  map[string]float64 // by address
}

// WatchMemory asks every master how full it is until ctx ends: each second while somebody calls
// Fullness, else every 5 s. It returns nil.
func (db *DB) WatchMemory(ctx context.Context) error {
	if db.header == "" { // the Redis of the demo does not tell
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	var read time.Time
	for {
		if db.memory.wanted.Swap(false) || time.Since(read) > memoryIdle-memoryEvery/2 {
			read = time.Now()
			db.memory.set(db.readMemory(ctx))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Fullness is the share of its memory that the master of key used when last asked: 0 when it
// has no limit or was not asked yet. It asks nobody.
func (db *DB) Fullness(ctx context.Context, key string) float64 {
	db.memory.wanted.Store(true)
	addr := db.addr()
	if cluster := db.cluster(); cluster != nil {
		master, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return 0
		}
		addr = master.Options().Addr
	}
	db.memory.mu.Lock()
	defer db.memory.mu.Unlock()
	return db.memory.ratio[addr]
}

func (db *DB) readMemory(ctx context.Context) map[string]float64 {
	ctx, cancel := context.WithTimeout(ctx, 5*memoryEvery)
	defer cancel()
	var mu sync.Mutex
	all := map[string]float64{}
	db.eachMaster(ctx, func(ctx context.Context, c redis.UniversalClient, addr string) error {
		r, err := memoryRatio(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			all[addr] = r
		}
		return nil // who is away is not full
	})
	return all
}

func memoryRatio(ctx context.Context, c redis.UniversalClient) (float64, error) {
	text, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	used, most := 0., 0.
	for line := range strings.SplitSeq(text, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "used_memory":
			used, _ = strconv.ParseFloat(value, 64)
		case "maxmemory":
			most, _ = strconv.ParseFloat(value, 64)
		}
	}
	if most == 0 {
		return 0, nil
	}
	return used / most, nil
}

func (m *memory) set(ratio map[string]float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ratio = ratio
}

var memoryDesc = prometheus.NewDesc("sluice_redis_memory_ratio",
	"Share of its maxmemory that a master of Redis uses; above 0.75 nothing more is accepted.", []string{"redis"}, nil)

// Describe implements prometheus.Collector.
func (m *memory) Describe(ch chan<- *prometheus.Desc) { ch <- memoryDesc }

// Collect implements prometheus.Collector.
func (m *memory) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for addr, r := range m.ratio {
		ch <- prometheus.MustNewConstMetric(memoryDesc, prometheus.GaugeValue, r, addr)
	}
}
