package app

import (
	"context"
	"log/slog"
	"time"

	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/webhook"
)

// Webhook makes the program from its arguments and environment.
func Webhook(ctx context.Context, args []string, getenv func(string) string) (*Program, error) {
	c, err := config.LoadWebhook(args, getenv)
	if err != nil {
		return nil, err
	}
	collectRarely()
	return NewWebhook(ctx, c, newLog(c.Common))
}

// NewWebhook puts the webhook ingester together: what Meta reports goes into the stream.
func NewWebhook(ctx context.Context, c config.Webhook, log *slog.Logger) (*Program, error) {
	p, err := newProgram(ctx, c.Common, log)
	if err != nil {
		return nil, err
	}
	apps := map[string]config.App{}
	for _, a := range c.Apps {
		apps[a.Name] = a
	}
	h := webhook.NewHandler(events.New(p.db, message.Shards(c.Shards), events.Options{Registerer: p.registry, Log: log}), webhook.Options{
		Apps: func(name string) (webhook.App, bool) {
			a, ok := apps[name]
			return webhook.App{Secrets: a.Secrets(time.Now()), VerifyToken: string(a.VerifyToken)}, ok
		},
		ClockOffset: p.db.ClockOffset, Registerer: p.registry, Log: log,
	})
	return p, p.serve(c.Listen, h, &p.addr)
}
