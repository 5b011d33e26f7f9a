package rig

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

// Command is the hidden command of the executable with which a rig starts its parts. The arguments after it
// are for Run.
const Command = "part"

// Part is a process of a rig that is not one of Sluice's programs. It serves at addr until ctx ends. Its settings
// are JSON.
type Part func(ctx context.Context, addr string, settings []byte) error

// Run runs one process of a rig until SIGTERM, and returns its exit code. args are the name of one of Sluice's
// programs and its arguments, or the name of the simulator or of one of more, its address and its settings.
func Run(args []string, more map[string]Part) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, Command+": the name of a part is missing")
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
	part, ok := more[name]
	if name == "simulate" {
		part, ok = simulate, true
	}
	err := errors.New("there is no such part, or its arguments are not an address and settings")
	if ok && len(args) == 2 {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = part(ctx, args[0], []byte(args[1]))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func simulate(ctx context.Context, addr string, settings []byte) error {
	var o graphsim.Options
	if err := json.Unmarshal(settings, &o); err != nil {
		return err
	}
	sim := graphsim.New(o)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sim.Run(ctx) })
	g.Go(func() error { return Listen(ctx, addr, sim.Handler()) })
	return g.Wait()
}

// Listen serves h at addr until ctx ends.
func Listen(ctx context.Context, addr string, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ops.Serve(ctx, l, h, ops.ServeOptions{WriteTimeout: time.Minute, Grace: time.Second})
}
