package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/message"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// redis checks that Redis answers, has the settings that the durability needs, has memory left, and that its
// clock is right. Then it checks what Redis says about programs and messages.
func (v *visit) redis(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	want := v.Worker.Redis
	db, err := store.Open(ctx, string(want.URL))
	if err != nil {
		v.add("redis", "", found(Fail, err.Error(), "start it, or set redis.url or SLUICE_REDIS_URL to its address"))
		return
	}
	defer db.Close()
	masters, err := db.Examine(ctx, store.Durability(want.Durability))
	if err != nil {
		v.add("redis", "", found(Fail, err.Error(), "permit INFO and CONFIG GET to Sluice's Redis user"))
		return
	}
	for _, m := range masters {
		v.add("redis", "", found(OK, m.Addr+" answers; durability: "+want.Durability, ""))
		if m.Risk != "" {
			level, fix := Warn, "set redis.durability: fsync if no message may be lost"
			if want.Durability == config.Fsync {
				fix = "set redis.durability: replica"
				if !want.FailoverMayLose {
					level, fix = Fail, fix+", or accept the loss by redis.failover_may_lose_writes: true; until then no program starts"
				}
			}
			v.add("redis durability", "", found(level, m.Risk, fix))
		}
		for _, s := range m.Settings {
			f := found(OK, s.Have, "")
			if !s.OK {
				f = found(Fail, s.String(), "set it in redis.conf and with CONFIG SET")
				switch s.Name {
				case "redis_version":
					f.Fix = "install Redis 7.0 or newer"
				case "aof_last_write_status":
					f.Fix = "free the disk of Redis; its log says more"
				}
			}
			v.add("redis "+strings.TrimPrefix(s.Name, "redis_"), "", f)
		}
	}
	v.memory(ctx, db)
	v.directory(ctx, db)
	v.unserved(ctx, db)
	before := time.Now()
	now, err := db.Time(ctx).Result()
	if err != nil {
		v.add("clock of redis", "", found(Fail, err.Error(), "permit TIME to Sluice's Redis user"))
		return
	}
	v.add("clock of redis", "", skew(now, before, time.Now(), 0, "run NTP (chrony, systemd-timesyncd) on this machine and on the machine of Redis"))
	v.state(ctx, db)
}

// directory reads the numbers, apps and API keys that are stored. Without them those of the configuration file are checked.
func (v *visit) directory(ctx context.Context, db *store.DB) {
	w := v.Worker
	known := directory.New(directory.NewStore(directory.StoreOptions{
		DB: db, Box: secrets.New(string(w.SecretsKey), string(w.SecondSecrets)),
		File: directory.File{Numbers: w.Numbers, Tokens: w.Tokens, Apps: v.Webhook.Apps, APIKeys: v.Producer.APIKeys, Clients: w.Clients, Classes: w.Classes},
	}), slog.New(slog.DiscardHandler), directory.KindNumber, directory.KindApp)
	if err := known.Load(ctx); err != nil {
		v.add("directory", "", found(Fail, err.Error(), "permit EVALSHA and HGETALL to Sluice's Redis user"))
		return
	}
	v.known = known
}

// unserved names the numbers that have waiting messages and are not configured.
func (v *visit) unserved(ctx context.Context, db *store.DB) {
	if v.known == nil {
		return
	}
	reader := backlog.New(db, message.Shards(v.Worker.Shards), func(string) int { return 1 })
	all, err := reader.Unserved(ctx, v.known.Known)
	if err != nil {
		v.add("queues", "", found(Fail, err.Error(), "permit SMEMBERS and EVALSHA to Sluice's Redis user"))
	}
	for _, p := range all {
		v.add("number not configured", p.Number, found(Warn, fmt.Sprintf("waiting messages: %d. None of them is sent", p.Messages()),
			"add the number, or let its messages expire"))
	}
}

// The differences of clocks that are worth a warning and a failure. Deadlines are by Redis's clock, statuses have times of
// Meta's clock.
const (
	skewWarn = 2 * time.Second
	skewFail = 30 * time.Second
)

// skew compares a clock, which was read between before and after by this machine's clock, with this machine's clock. The other
// clock shows times in steps of grain. fix says how to correct the difference.
func skew(theirs, before, after time.Time, grain time.Duration, fix string) Finding {
	var ahead time.Duration
	switch {
	case theirs.After(after):
		ahead = theirs.Sub(after)
	case theirs.Add(grain).Before(before):
		ahead = theirs.Add(grain).Sub(before)
	}
	off, side := ahead, "ahead of"
	if ahead < 0 {
		off, side = -ahead, "behind"
	}
	grain = time.Second
	if off > 2*time.Minute {
		grain = time.Minute
	}
	says := fmt.Sprintf("%s %s the clock of this machine", off.Round(grain), side)
	switch {
	case off < skewWarn:
		return found(OK, "agrees with the clock of this machine", "")
	case off < skewFail:
		return found(Warn, says, fix)
	}
	return found(Fail, says, fix)
}
