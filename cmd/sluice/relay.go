package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// relayCmd has the commands about relay targets.
type relayCmd struct {
	List        relayListCmd        `cmd:"" help:"List the relay targets with their state, lag, dead letters and last error."`
	Set         relaySetCmd         `cmd:"" help:"Add a relay target, or change it. The flags are the whole definition: a flag that is left out gets its default, except the secret."`
	Remove      relayRemoveCmd      `cmd:"" help:"Remove a relay target with its position and its dead letters."`
	Hold        relayHoldCmd        `cmd:"" help:"Hold a relay target: it gets nothing until it is released."`
	Release     relayReleaseCmd     `cmd:"" help:"Release a relay target: it gets the events that waited."`
	Replay      relayReplayCmd      `cmd:"" help:"Relay events again: all from a time on, or the dead letters."`
	DeadLetters relayDeadLettersCmd `cmd:"" name:"dead-letters" help:"Print events that were given up for a target, one JSON object per line."`
	Drop        relayDropCmd        `cmd:"" help:"Drop the dead letters of a relay target. They cannot be relayed again."`
}

// relayPath is the path of a target in the console.
func relayPath(name, rest string) string { return "/v1/relay/targets/" + url.PathEscape(name) + rest }

type relayListCmd struct{ consoleFlags }

// Run lists the targets.
func (r relayListCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "GET", "/v1/relay/targets", nil, read(func(t table, a struct {
		Targets []struct {
			Name, URL, Format, State, Error string
			Lag                             float64 `json:"lag_seconds"`
			SetAside                        int     `json:"set_aside"`
			DeadLetters                     int     `json:"dead_letters"`
			Gaps                            int
			GapFrom                         time.Time `json:"gap_from"`
			GapTo                           time.Time `json:"gap_to"`
			Since                           time.Time
			NextTry                         time.Time `json:"next_try"`
			HeldBy                          string    `json:"held_by"`
			HeldReason                      string    `json:"held_reason"`
		}
	},
	) {
		if len(a.Targets) == 0 {
			t.row("There are no relay targets. `sluice relay set` adds one.")
			return
		}
		t.row("NAME", "STATE", "SINCE", "LAG", "SET ASIDE", "DEAD LETTERS", "GAPS", "LAST ERROR", "NEXT TRY", "FORMAT", "URL")
		for _, one := range a.Targets {
			why := one.Error
			if one.HeldBy != "" {
				why = "held by " + one.HeldBy + ": " + one.HeldReason
			}
			lag := time.Duration(one.Lag * float64(time.Second)).Round(time.Second)
			gaps := "0"
			if one.Gaps > 0 {
				gaps = fmt.Sprintf("%d, last %s to %s", one.Gaps, clock(one.GapFrom, ""), clock(one.GapTo, ""))
			}
			t.row(one.Name, one.State, clock(one.Since, "-"), lag, one.SetAside, one.DeadLetters, gaps, orDash(why), clock(one.NextTry, "-"), one.Format, one.URL)
		}
	}))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

type relaySetCmd struct {
	Name        string   `arg:"" help:"The name of the target, 1 to 32 of a-z, 0-9 and -."`
	URL         string   `required:"" help:"Where the events are sent to."`
	SecretFile  string   `help:"File with the secret that signs the requests. Without it a changed target keeps its secret." type:"existingfile" placeholder:"FILE"`
	Format      *string  `help:"meta: as Meta's own webhooks, the default. sluice: events in the schema of docs/events.md." placeholder:"FORMAT"`
	MessageIDs  *string  `name:"message-ids" help:"Which id statuses have in the format meta: meta, the default, or sluice." placeholder:"IDS"`
	Number      []string `name:"phone-number-id" help:"Only events of this phone number id. Give it several times for several." placeholder:"ID"`
	Account     []string `name:"waba-id" help:"Only events of this WhatsApp Business Account. Give it several times for several." placeholder:"ID"`
	Tag         []string `help:"Only events of messages with this tag. Give it several times for several." placeholder:"TAG"`
	Client      *string  `help:"Only events of this client's messages and numbers." placeholder:"NAME"`
	Type        []string `help:"Only this type of events: message, final, status, inbound, standby, handover, update, gap. Give it several times for several." placeholder:"TYPE"`
	Batch       *int     `help:"Events in one request at most, 1 to 100. Default: 1." placeholder:"N"`
	Concurrency *int     `help:"Requests at the same time, 1 to 256: each worker makes its share, and at least one. Default: 16." placeholder:"N"`
	GiveUpAfter *string  `help:"How long an event is retried while the target takes nothing. Default: 24h." placeholder:"TIME"`
	signature
	consoleFlags
}

// Run adds or changes a target.
func (r relaySetCmd) Run(ctx context.Context) error {
	what := map[string]any{"url": r.URL, "format": r.Format, "message_ids": r.MessageIDs, "client": r.Client, "batch": r.Batch, "concurrency": r.Concurrency, "give_up_after": r.GiveUpAfter}
	for name, values := range map[string][]string{"phone_number_ids": r.Number, "waba_ids": r.Account, "tags": r.Tag, "types": r.Type} {
		if len(values) > 0 {
			what[name] = values
		}
	}
	if r.SecretFile != "" {
		secret, err := os.ReadFile(r.SecretFile)
		if err != nil {
			return err
		}
		what["secret"] = strings.TrimSpace(string(secret))
	}
	return r.ask(ctx, "PUT", relayPath(r.Name, ""), r.order(what), read(func(t table, a struct{ Added bool }) {
		if a.Added {
			t.row("Added. It gets the events from now on.")
			return
		}
		t.row("Changed. It continues where it was.")
	}))
}

// relayOrder are the flags of an order about a target.
type relayOrder struct {
	Name string `arg:"" help:"The name of the target."`
	signature
	consoleFlags
}

func (r relayOrder) give(ctx context.Context, what string, more map[string]any) error {
	return r.ask(ctx, "POST", relayPath(r.Name, what), r.order(more), read(func(t table, _ struct{}) {
		t.row("Ordered. Workers follow within seconds.")
	}))
}

type relayRemoveCmd struct{ relayOrder }

// Run removes a target.
func (r relayRemoveCmd) Run(ctx context.Context) error {
	return r.give(ctx, "/remove", map[string]any{})
}

type relayHoldCmd struct{ relayOrder }

// Run holds a target.
func (r relayHoldCmd) Run(ctx context.Context) error {
	return r.give(ctx, "/hold", map[string]any{})
}

type relayReleaseCmd struct{ relayOrder }

// Run releases a target.
func (r relayReleaseCmd) Run(ctx context.Context) error {
	return r.give(ctx, "/release", map[string]any{})
}

type relayReplayCmd struct {
	relayOrder
	Since       time.Time `xor:"what" required:"" help:"Relay the events that were written at this time or later, for example 2026-01-31T15:04:05Z. Give either --since or --dead-letters." placeholder:"TIME"`
	DeadLetters bool      `xor:"what" required:"" name:"dead-letters" help:"Relay the events that were given up."`
}

// Run relays events again.
func (r relayReplayCmd) Run(ctx context.Context) error {
	if r.DeadLetters {
		return r.give(ctx, "/replay", map[string]any{"dead_letters": true})
	}
	return r.give(ctx, "/replay", map[string]any{"since": stamp(r.Since)})
}

type relayDropCmd struct{ relayOrder }

// Run drops the dead letters of a target.
func (r relayDropCmd) Run(ctx context.Context) error {
	return r.give(ctx, "/drop", map[string]any{})
}

type relayDeadLettersCmd struct {
	Name  string  `arg:"" help:"The name of the target."`
	Limit *string `default:"100" help:"How many to print. The latest comes first."`
	consoleFlags
}

// Run prints dead letters of a target.
func (r relayDeadLettersCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "GET", query(relayPath(r.Name, "/dead-letters"), "limit", r.Limit), nil, read(func(t table, a struct {
		DeadLetters []json.RawMessage `json:"dead_letters"`
	},
	) {
		for _, one := range a.DeadLetters {
			fmt.Fprintf(t, "%s\n", one)
		}
	}))
}
