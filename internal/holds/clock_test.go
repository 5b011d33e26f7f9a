package holds_test

import (
	"context"
	"log/slog"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// ahead is how far the clock of Redis is ahead in TestTheClockOfRedisEndsAHold.
const ahead = 3 * time.Hour

var serverTime = regexp.MustCompile(`(?m)^server_time_usec:(\d+)`)

// aheadOfUs lets a Redis report a time that is ahead.
type aheadOfUs struct{}

func (aheadOfUs) DialHook(next redis.DialHook) redis.DialHook { return next }

func (aheadOfUs) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (aheadOfUs) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if info, ok := cmd.(*redis.StringCmd); ok && cmd.Name() == "info" {
			info.SetVal(serverTime.ReplaceAllStringFunc(info.Val(), func(line string) string {
				at, _ := strconv.ParseInt(serverTime.FindStringSubmatch(line)[1], 10, 64)
				return "server_time_usec:" + strconv.FormatInt(at+ahead.Microseconds(), 10)
			}))
		}
		return err
	}
}

// TestTheClockOfRedisEndsAHold: a hold lasts as long as ordered when the clock of Redis is not that of this machine.
func TestTheClockOfRedisEndsAHold(t *testing.T) {
	t.Parallel()
	client := redistest.Client(t)
	client.AddHook(aheadOfUs{})
	db, err := store.New(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	go db.Observe(t.Context(), log)
	poll.Until(t, "the offset is known", func() bool { return db.ClockOffset() > ahead/2 })
	hs := holds.New(db, shards, log)
	set, err := hs.Set(t.Context(), message.Hold{Number: phone, Reason: "quality", By: "anna", Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if lasts := time.Until(set.Until); lasts < ahead || lasts > ahead+time.Hour {
		t.Errorf("the hold ends in %s by this machine's clock, want an hour by that of Redis, which is %s ahead", lasts, ahead)
	}
	if since := time.Until(set.Since); since < ahead/2 || since > ahead {
		t.Errorf("it began in %s", since)
	}
	if list, err := hs.List(t.Context()); err != nil || len(list) != 1 || !list[0].Until.Equal(set.Until) {
		t.Errorf("in force: %+v, %v", list, err)
	}
}
