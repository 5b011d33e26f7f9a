package bench

import (
	"context"
	"encoding/json"
	"net/http"

	"sluice/internal/rig"
)

// Parts are the baselines of load runs, their plain far side and their relay targets, as parts of a rig.
var Parts = map[string]rig.Part{
	"asynq": func(ctx context.Context, addr string, settings []byte) error {
		var s AsynqSettings
		if err := json.Unmarshal(settings, &s); err != nil {
			return err
		}
		return serveAsynq(ctx, addr, s)
	},
	"enqueue": func(ctx context.Context, addr string, settings []byte) error {
		var redis string
		if err := json.Unmarshal(settings, &redis); err != nil {
			return err
		}
		return rig.Listen(ctx, addr, enqueueHandler(redis))
	},
	"farside": func(ctx context.Context, addr string, settings []byte) error {
		var s farSideSettings
		if err := json.Unmarshal(settings, &s); err != nil {
			return err
		}
		return serveFarSide(ctx, addr, s)
	},
	"targets": func(ctx context.Context, addr string, _ []byte) error {
		return rig.Listen(ctx, addr, newTargets().handler())
	},
	"hmac": func(ctx context.Context, addr string, _ []byte) error {
		return rig.Listen(ctx, addr, http.HandlerFunc(checkHMAC))
	},
}
