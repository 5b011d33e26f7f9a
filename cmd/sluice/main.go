// Sluice is the command line tool: the demo, the simulator, and commands to send messages and
// to follow events.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sluice/internal/config"
)

// cli is the tool's command line.
type cli struct {
	Demo       demoCmd       `cmd:"" help:"Run all of Sluice in this process against a simulated Meta, and tell what became of 1,500 messages."`
	Send       sendCmd       `cmd:"" help:"Send a message through the API."`
	Import     importCmd     `cmd:"" help:"Send many messages from a file, one JSON object a line."`
	Events     eventsCmd     `cmd:"" help:"Follow the event stream, one JSON object a line."`
	Top        topCmd        `cmd:"" help:"Show numbers, their pace and what waits, live."`
	Pace       paceCmd       `cmd:"" help:"Show a number's pace, and change it while workers run."`
	Cancel     cancelCmd     `cmd:"" help:"Take a message back."`
	Explain    explainCmd    `cmd:"" help:"Tell what a message waits for, and until when."`
	Record     recordCmd     `cmd:"" help:"Print the stored record of a message from Redis: every member, its timeline, and whether the lists in Redis agree. Never prints the payload or the whole recipient."`
	List       listCmd       `cmd:"" help:"List messages by their ids, state, tag or reference."`
	Hold       holdCmd       `cmd:"" help:"Keep messages from being sent: of a number, a template, a tag, or all."`
	Resume     resumeCmd     `cmd:"" help:"End a hold: what it kept goes on in its order."`
	Holds      holdsCmd      `cmd:"" help:"List what is held, and why."`
	Doubts     doubtsCmd     `cmd:"" help:"List messages of which nobody knows whether Meta took them, and settle them."`
	Dead       deadCmd       `cmd:"" help:"Count and list messages that were given up."`
	Unreported unreportedCmd `cmd:"" help:"List messages that Meta took a while ago and reported nothing of since."`
	Replay     replayCmd     `cmd:"" help:"Send dead messages again; without --go count them only."`
	Resend     resendCmd     `cmd:"" help:"Send messages again that ended undelivered: failed, rejected, expired or dead; without --go count them only."`
	Audit      auditCmd      `cmd:"" help:"List what was ordered: who, what, when and why."`
	Doctor     doctorCmd     `cmd:"" help:"Look at the whole set-up, say what is missing and how to mend it."`
	Migrate    migrateCmd    `cmd:"" help:"Convert a store that an older version wrote, while all programs are stopped. See docs/upgrade.md."`
	Simulate   simulateCmd   `cmd:"" help:"Run the Cloud API simulator."`
	Bench      benchCmd      `cmd:"" help:"Measure load: pace, latency, throughput, memory, each beside its baseline."`
	Chaos      chaosCmd      `cmd:"" help:"Break everything while messages go out, and prove by what the far side received that none is lost and none knowingly sent twice."`
	Part       partCmd       `cmd:"" hidden:"" passthrough:""`
	Key        keyCmd        `cmd:"" help:"Make an API key and print it with the hash for the configuration."`
	Health     healthCmd     `cmd:"" help:"Ask a health URL; exit 0 when it answers 200. For containers without a shell."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	env, err := config.Env()
	if err != nil {
		return fail(err)
	}
	var c cli
	parser, err := kong.New(&c, kong.Name("sluice"), kong.UsageOnError(),
		kong.Description("Sluice sends WhatsApp messages through the Cloud API: queued, paced, never knowingly twice."),
		kong.Bind(getenv(env)))
	if err != nil {
		return fail(err)
	}
	command, err := parser.Parse(args)
	if err != nil {
		parser.FatalIfErrorf(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(); err != nil && !errors.Is(err, context.Canceled) {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "sluice:", err)
	return 1
}

// getenv looks up an environment variable, also in .env.
type getenv func(string) string
