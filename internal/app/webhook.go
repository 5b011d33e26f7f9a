package app

import (
	"context"
	"log/slog"
	"time"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/secrets"
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

// NewWebhook builds the webhook program, which stores Meta's webhooks in the event stream.
func NewWebhook(ctx context.Context, c config.Webhook, log *slog.Logger) (*Program, error) {
	p, err := newProgram(ctx, "webhook", c.Common, entries{
		file: directory.File{Apps: c.Apps}, box: secrets.New(string(c.SecretsKey), string(c.SecondSecrets)), uses: []directory.Kind{directory.KindApp},
	}, log)
	if err != nil {
		return nil, err
	}
	stream := events.New(p.DB, message.Shards(c.Shards), events.Options{Registerer: p.Registry, Log: log})
	live := stream.NewLiveness(webhookName(c.Listen))
	h := webhook.NewHandler(stream, webhook.Options{
		Apps: func(name string) (webhook.App, bool) {
			a, ok := p.directory.App(name)
			return webhook.App{Secrets: a.Secrets(time.Now()), VerifyToken: string(a.VerifyToken)}, ok
		},
		Track: live.Track, ClockOffset: p.DB.ClockOffset, Tracer: p.tracer, Registerer: p.Registry, Log: log,
	})
	if err := p.serve(c.Listen, h, &p.addr, func() { live.Track()(true) }); err != nil {
		return nil, err
	}
	p.Work(live.Run)
	p.Background(func(ctx context.Context) error {
		<-ctx.Done() // the last delivery is answered
		if err := live.Leave(context.WithoutCancel(ctx)); err != nil {
			log.Warn("cannot report that the webhook program ends", slog.Any("err", err))
		}
		return nil
	})
	return p, nil
}
