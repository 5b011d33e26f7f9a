package demo_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/internal/demo"
	"sluice/internal/redistest"
)

func options(out *strings.Builder) demo.Options {
	return demo.Options{Orders: 10, Out: out, Log: slog.New(slog.DiscardHandler)}
}

// The demo uses a Redis of the user if it is empty. It refuses a used one, and one that does not answer, at once, and
// leaves nothing running.
func TestTheDemosOtherRedis(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	server := redistest.Start(t)
	var out strings.Builder
	o := options(&out)
	o.RedisURL = server.URL()
	if err := demo.Run(ctx, o); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	before := server.Client().DBSize(ctx).Val()
	if err := demo.Run(ctx, o); err == nil || !strings.Contains(err.Error(), "--redis: that Redis is not empty") {
		t.Errorf("with a used one: %v", err)
	}
	o.RedisURL += "/1"
	if err := demo.Run(ctx, o); err == nil || !strings.Contains(err.Error(), "--redis: that Redis is not empty") {
		t.Errorf("with another database of a used one: %v", err)
	}
	if after := server.Client().DBSize(ctx).Val(); after != before {
		t.Errorf("%d keys became %d", before, after)
	}
	server.Kill()
	if err := demo.Run(ctx, o); err == nil || !strings.Contains(err.Error(), "Start that Redis, or leave --redis out") {
		t.Errorf("with a stopped one: %v", err)
	}
}
