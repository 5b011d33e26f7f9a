package main

import (
	"context"
	"log/slog"
	"os"

	"sluice/internal/demo"
	"sluice/internal/ops"
)

type demoCmd struct {
	Orders int    `default:"500" help:"Orders in the pipeline, three messages each."`
	Seed   uint64 `default:"1" help:"Seed of the simulator's mishaps."`
	Keep   bool   `help:"Stay up when all is told."`
	API    string `default:"127.0.0.1:0" help:"Where the API listens (host:port; port 0 takes a free one)." placeholder:"ADDR"`
	Redis  string `help:"Use the empty Redis at this URL, in place of one inside this process. The demo reads no environment and no .env." placeholder:"URL"`
	Logs   bool   `help:"Show the programs' logs on standard error."`
}

func (d demoCmd) Run(ctx context.Context) error {
	o := demo.Options{
		Orders: d.Orders, Seed: d.Seed, Keep: d.Keep, API: d.API,
		RedisURL: d.Redis, Out: os.Stdout,
	}
	if d.Logs {
		o.Log = ops.NewLogger(os.Stderr, slog.LevelInfo)
	}
	return demo.Run(ctx, o)
}
