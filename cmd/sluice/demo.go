package main

import (
	"context"
	"log/slog"
	"os"

	"sluice/internal/demo"
	"sluice/internal/ops"
)

type demoCmd struct {
	Orders  int    `default:"500" help:"Orders in the pipeline, three messages each."`
	Seed    uint64 `default:"1" help:"Seed of the simulator's random choices."`
	Keep    bool   `help:"Run on after the report, until Ctrl-C."`
	API     string `default:"127.0.0.1:0" help:"Where the API listens, as host:port. Port 0 chooses a free port." placeholder:"ADDR"`
	Console string `default:"127.0.0.1:0" help:"Where the console listens, as host:port. Port 0 chooses a free port." placeholder:"ADDR"`
	Redis   string `help:"Use the empty Redis at this URL instead of one inside this process. The demo reads neither the environment nor .env." placeholder:"URL"`
	Logs    bool   `help:"Show the programs' logs on standard error."`
}

func (d demoCmd) Run(ctx context.Context) error {
	o := demo.Options{
		Orders: d.Orders, Seed: d.Seed, Keep: d.Keep, API: d.API, Console: d.Console,
		RedisURL: d.Redis, Out: os.Stdout,
	}
	if d.Logs {
		o.Log = ops.NewLogger(os.Stderr, slog.LevelInfo)
	}
	return demo.Run(ctx, o)
}
