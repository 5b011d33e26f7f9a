package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"sluice/internal/config"
	"sluice/internal/ops"
	"sluice/internal/version"
)

// Start makes a program from its arguments and environment.
type Start func(ctx context.Context, args []string, getenv func(string) string) (*Program, error)

// Programs are the programs by their names.
var Programs = map[string]Start{"producer": Producer, "worker": Worker, "webhook": Webhook}

// Main runs a program until SIGINT, SIGTERM or SIGHUP, and returns its exit code. With --version it only prints the
// version.
func Main(name string, start Start, args []string) int {
	if slices.Equal(args, []string{"--version"}) {
		fmt.Println(name, version.Current())
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // when the reader of the log ends, the program goes on
	err := run(ctx, start, args)
	output.Flush() // what happened comes before what it led to
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Println(err)
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func run(ctx context.Context, start Start, args []string) error {
	env, err := config.Env()
	if err != nil {
		return err
	}
	p, err := start(ctx, args, env)
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// collectRarely makes the garbage collector run when the heap is five times the memory in use, not twice. It is for
// programs whose requests leave little memory in use, and saves a fifth of their processor time. GOGC overrides it, and
// GOMEMLIMIT bounds it.
func collectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// output is the log of all programs of this process.
var output = ops.NewOutput(os.Stderr)

func newLog(c config.Common) *slog.Logger {
	log := ops.NewLogger(output, c.LogLevel)
	ops.RouteRedis(log)
	return log
}
