package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/app"
	"sluice/internal/graphsim"
	"sluice/internal/ops"
)

// PartCommand is the hidden command of the executable that a run starts its parts with; what
// follows it is for Part.
const PartCommand = "bench-part"

// Part runs one process of a load run until SIGTERM and returns its exit code: one of
// Sluice's programs with its arguments, or the simulator or a baseline with its address and
// its settings as JSON.
func Part(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, PartCommand+": which part?")
		return 2
	}
	name, args := args[0], args[1:]
	switch name {
	case "producer":
		return app.Main(name, app.Producer, args)
	case "worker":
		return app.Main(name, app.Worker, args)
	case "webhook":
		return app.Main(name, app.Webhook, args)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, name, args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, name string, args []string) error {
	if len(args) != 2 {
		return errors.New("give an address and settings")
	}
	addr, settings := args[0], []byte(args[1])
	switch name {
	case "simulate":
		var o graphsim.Options
		if err := json.Unmarshal(settings, &o); err != nil {
			return err
		}
		sim := graphsim.New(o)
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return sim.Run(ctx) })
		g.Go(func() error { return listen(ctx, addr, sim.Handler()) })
		return g.Wait()
	case "asynq":
		var s asynqSettings
		if err := json.Unmarshal(settings, &s); err != nil {
			return err
		}
		return serveAsynq(ctx, addr, s)
	case "enqueue":
		var redis string
		if err := json.Unmarshal(settings, &redis); err != nil {
			return err
		}
		return listen(ctx, addr, enqueueHandler(redis))
	case "hmac":
		return listen(ctx, addr, http.HandlerFunc(checkHMAC))
	}
	return errors.New("no such part")
}

func listen(ctx context.Context, addr string, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ops.Serve(ctx, l, h, ops.ServeOptions{WriteTimeout: time.Minute, Grace: time.Second})
}
