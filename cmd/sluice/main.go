// Sluice is the command line tool: commands to send messages, to find out what happens to them, and to operate
// an installation, and the demo, the simulator, the load runs and the fault matrix. Under the name producer, worker or
// webhook it is that program, so that the image needs one executable only.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9/logging"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/version"
)

// cli is the tool's command line.
type cli struct {
	Version kong.VersionFlag `help:"Print the version."`

	Demo           demoCmd           `cmd:"" help:"Run all of Sluice in one process against a simulated Meta, and report the result of 1,500 messages."`
	Send           sendCmd           `cmd:"" help:"Send a message through the API."`
	Import         importCmd         `cmd:"" help:"Send many messages from a file: NDJSON or CSV."`
	Outbox         outboxCmd         `cmd:"" help:"Print the SQL of the outbox: a table in your PostgreSQL from which Sluice sends."`
	Events         eventsCmd         `cmd:"" help:"Print events as they are written, one JSON object per line."`
	Top            topCmd            `cmd:"" help:"Show all numbers live: effective rate, holds, waiting and held messages, ETA."`
	Rate           rateCmd           `cmd:"" help:"Show the rate limit and the effective rate of a number, or change the rate limit while workers run."`
	Cancel         cancelCmd         `cmd:"" help:"Cancel a message."`
	Explain        explainCmd        `cmd:"" help:"Explain what a message waits for, and until when."`
	Record         recordCmd         `cmd:"" help:"Print the stored record of a message from Redis: every field, the timeline, and whether Redis has the message in the right list. It never prints the payload or the full recipient."`
	List           listCmd           `cmd:"" help:"List messages by their ids, state, tag, error code or reference."`
	Find           findCmd           `cmd:"" help:"Find messages by their key, reference, id of Meta's or recipient: the latest 100."`
	Hold           holdCmd           `cmd:"" help:"Hold the messages of a number, a template, a tag or a campaign, or all messages: they are not sent until the hold ends."`
	Release        releaseCmd        `cmd:"" help:"End exactly one hold: the one that was set for the same number, template, tag, or with --all. Other holds stay. The messages are sent in their order."`
	Holds          holdsCmd          `cmd:"" help:"List the holds: what is held, since when, why and by which actor, how many messages wait, and what ends the hold."`
	Templates      templatesCmd      `cmd:"" help:"List the templates of the accounts with their states, and read them from Meta now."`
	InDoubt        inDoubtCmd        `cmd:"" name:"in-doubt" help:"List messages of which it is unknown whether Meta accepted them, and decide about them."`
	DeadLetters    deadLettersCmd    `cmd:"" name:"dead-letters" help:"Count and list dead letters: messages that Sluice stopped trying to send."`
	AwaitingStatus awaitingStatusCmd `cmd:"" name:"awaiting-status" help:"List messages that Meta accepted more than 15 minutes ago and sent no status for."`
	Replay         replayCmd         `cmd:"" help:"Send the dead letters of one number again. Without --confirm it only counts them. To select by template or tag, use resend --state dead."`
	Resend         resendCmd         `cmd:"" help:"Send messages again that ended undelivered: failed, rejected, expired or dead. Without --confirm it only counts them."`
	Numbers        numbersCmd        `cmd:"" help:"List, add, change and remove numbers, and replace their access tokens, while all programs run."`
	Onboard        onboardCmd        `cmd:"" help:"Connect a number after an Embedded Signup: from its code to a number that can send."`
	Accounts       accountsCmd       `cmd:"" help:"List the WhatsApp Business Accounts of the numbers."`
	Apps           appsCmd           `cmd:"" help:"List, add, change and remove apps, and replace their app secrets, while all programs run."`
	Keys           keysCmd           `cmd:"" help:"List, add, change, replace and remove API keys while all programs run."`
	Clients        clientsCmd        `cmd:"" help:"List, add, change and remove clients: those for whose numbers and API keys Sluice sends."`
	Campaigns      campaignsCmd      `cmd:"" help:"How far campaigns are, and why messages were not delivered."`
	Media          mediaCmd          `cmd:"" help:"Upload files that many messages name."`
	Schedules      schedulesCmd      `cmd:"" help:"Messages that are sent again and again, at times of the clock of a time zone."`
	Usage          usageCmd          `cmd:"" help:"Count the messages of clients that Meta took, and those that it charges for, by day."`
	Directory      directoryCmd      `cmd:"" help:"Export and import numbers, apps, API keys and clients, and encrypt their secrets with a new key."`
	Relay          relayCmd          `cmd:"" help:"List, set, hold and replay relay targets: URLs to which events are forwarded."`
	Report         reportCmd         `cmd:"" help:"Reports from the archive: delivery, errors, cost."`
	Archive        archiveCmd        `cmd:"" help:"Export or delete what the archive has about a recipient."`
	Suppressions   suppressionsCmd   `cmd:"" help:"The people who opted out of marketing messages."`
	People         peopleCmd         `cmd:"" help:"Count, export or delete what is stored about a person, by a phone number or user id."`
	Audit          auditCmd          `cmd:"" help:"List the audit log: what operators did, when and why."`
	Doctor         doctorCmd         `cmd:"" help:"Check the whole installation. Print what is wrong and how to fix it. Exit code 1: a check failed."`
	Selftest       selftestCmd       `cmd:"" help:"Send a message and follow it until it is delivered. Print each step with its time. Exit code 1: a step did not come."`
	Migrate        migrateCmd        `cmd:"" help:"Convert the data in Redis that an older version wrote. All programs must be stopped. See docs/upgrading.md."`
	Simulate       simulateCmd       `cmd:"" help:"Run the simulator of Meta's Cloud API."`
	Bench          benchCmd          `cmd:"" help:"Measure rate, latency, throughput and memory under load, and compare with baselines."`
	Chaos          chaosCmd          `cmd:"" help:"Run the fault matrix: break workers, Redis and webhooks while messages are sent, and prove that none is lost and none is knowingly sent twice."`
	Part           partCmd           `cmd:"" hidden:"" passthrough:""`
	Key            keyCmd            `cmd:"" help:"Make an API key and print it with the hash for the configuration."`
	Health         healthCmd         `cmd:"" help:"Call a health URL. Exit code 0: it answered 200. For containers without a shell."`
}

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if start := app.Programs[name]; start != nil {
		os.Exit(app.Main(name, start, args))
	}
	os.Exit(run(args))
}

func run(args []string) int {
	logging.Disable() // of the Redis client: it returns its errors too
	var c cli
	parser, err := kong.New(&c, kong.Name("sluice"), kong.UsageOnError(),
		kong.Description("Sluice sends WhatsApp messages through Meta's Cloud API. It queues them, keeps the rate limit of each number, and knowingly sends no message twice."),
		kong.Vars{"version": "sluice " + version.Current().String()}, kong.BindToProvider(environment))
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

// environment reads .env, for the commands that need it.
func environment() (getenv, error) {
	env, err := config.Env()
	return env, err
}
