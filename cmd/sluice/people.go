package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

type peopleCmd struct {
	Show   peopleShowCmd   `cmd:"" help:"Count what is stored about a person: names, messages, schedules, entries of messaging limits, rows of the archive, and other entries."`
	Export peopleExportCmd `cmd:"" help:"Print all that is stored about a person as JSON: messages and schedules with their content, entries of messaging limits, rows of the archive, and other entries."`
	Delete peopleDeleteCmd `cmd:"" help:"Delete all that is stored about a person, also the schedules to the person. Without --confirm it only counts."`
}

// personFlags name a person without showing the number to other users of the machine.
type personFlags struct {
	To string `required:"" help:"File with a phone number of the person with its country code, or a business-scoped user id. - reads it from the standard input. It is no argument because other users of the machine can see arguments." placeholder:"FILE"`
	consoleFlags
}

type peopleShowCmd struct{ personFlags }

// Run counts what is stored about a person.
func (p peopleShowCmd) Run(ctx context.Context) error { return p.show(ctx, os.Stdin) }

func (p personFlags) show(ctx context.Context, in io.Reader) error {
	to, err := readRecipient(p.To, in)
	if err != nil {
		return err
	}
	return p.ask(ctx, "POST", "/v1/people/show", map[string]any{"recipient": to}, read(func(t table, a struct {
		Identities, Portfolios int
		Messages               map[string]int
		Limits                 int    `json:"messaging_limit_entries"`
		ArchiveRows            int    `json:"archive_rows"`
		Schedules              int    `json:"schedule_count"`
		Others                 int    `json:"other_entries"`
		EventStreams           string `json:"event_streams"`
	},
	) {
		t.row(a.Identities, "phone numbers and user ids are known")
		t.row(a.Portfolios, "portfolios know more than one of them")
		for _, state := range slices.Sorted(maps.Keys(a.Messages)) {
			t.row(a.Messages[state], "messages are "+state)
		}
		t.row(a.Limits, "entries in the ledgers of messaging limits")
		t.row(a.ArchiveRows, "rows in the archive")
		t.row(a.Schedules, "schedules that send to the person")
		t.row(a.Others, "other entries")
		fmt.Fprintln(t, a.EventStreams)
	}))
}

type peopleExportCmd struct {
	personFlags
	signature
}

// Run prints all that is stored about a person.
func (p peopleExportCmd) Run(ctx context.Context) error {
	to, err := readRecipient(p.To, os.Stdin)
	if err != nil {
		return err
	}
	p.JSON = true
	return p.ask(ctx, "POST", "/v1/people/export", p.order(map[string]any{"recipient": to}), func(table, json.RawMessage) error { return nil })
}

type peopleDeleteCmd struct {
	personFlags
	Confirm bool   `help:"Delete, and do not only count."`
	Waiting string `default:"refuse" enum:"refuse,cancel" help:"What happens to messages to the person that wait to be sent: refuse deletes nothing while there are some, cancel cancels and deletes them." placeholder:"HOW"`
	Reason  string `help:"Why, for the audit log. Needed with --confirm."`
	Actor   string `help:"Who does this, for the audit log. Default: your user name." placeholder:"NAME"`
}

// Validate is called when the command line was read.
func (p peopleDeleteCmd) Validate() error {
	if p.Confirm && p.Reason == "" {
		return fmt.Errorf("--reason is missing: say why, for the audit log")
	}
	return nil
}

// Run deletes all that is stored about a person, or counts it.
func (p peopleDeleteCmd) Run(ctx context.Context) error { return p.run(ctx, os.Stdin) }

func (p peopleDeleteCmd) run(ctx context.Context, in io.Reader) error {
	if !p.Confirm {
		return p.show(ctx, in)
	}
	to, err := readRecipient(p.To, in)
	if err != nil {
		return err
	}
	order := signature{Reason: p.Reason, Actor: p.Actor}.order(map[string]any{"recipient": to, "waiting": p.Waiting})
	return p.ask(ctx, "POST", "/v1/people/delete", order, read(func(t table, a struct {
		Deleted, Cancelled, Remaining int
		Limits                        int    `json:"messaging_limit_entries"`
		ArchiveRows                   int    `json:"archive_rows"`
		Others                        int    `json:"other_entries"`
		EventStreams                  string `json:"event_streams"`
		Schedules                     []struct{ Client, Name string }
	},
	) {
		t.row(a.Deleted, "messages deleted")
		t.row(a.Cancelled, "of them cancelled first")
		t.row(a.Remaining, "not deleted: they are being sent or in doubt. Run it again when they have ended")
		t.row(a.Limits, "entries in the ledgers of messaging limits deleted")
		t.row(a.ArchiveRows, "rows of the archive deleted")
		t.row(a.Others, "other entries deleted")
		t.row(len(a.Schedules), "schedules deleted:")
		for _, one := range a.Schedules {
			t.row("", cmp.Or(one.Client, "no client"), one.Name)
		}
		fmt.Fprintln(t, a.EventStreams)
	}))
}
