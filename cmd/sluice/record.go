package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/client"
	"sluice/internal/message"
	"sluice/internal/record"
)

type recordCmd struct {
	ID     string `arg:"" help:"The message's id."`
	Config string `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

func (c recordCmd) Run(ctx context.Context, env getenv) error { return c.run(ctx, env, os.Stdout) }

func (c recordCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	in, err := open(ctx, c.Config, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	r, found, err := in.records.Inspect(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("record %s: %w", c.ID, err)
	}
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	printRecord(t, r)
	t.row("list", place(r.ListEntry()))
	t.row("in Redis", compared(r, found))
	t.Flush()
	fmt.Fprintln(out)
	printTimeline(t, r.Timeline)
	return t.Flush()
}

// printRecord prints the members of a record that are not empty. The payload and the recipient are
// private: it prints their sizes only.
func printRecord(t table, r record.Record) {
	member := func(name, value string) {
		if value != "" {
			t.row(name, value)
		}
	}
	count := func(name string, n int) {
		if n != 0 {
			t.row(name, n)
		}
	}
	at := func(name string, v time.Time) { member(name, clock(v, "")) }
	size := func(name, private string) {
		if private != "" {
			t.row(name, strconv.Itoa(len(private))+" bytes")
		}
	}
	member("id", r.ID)
	member("phone_number_id", r.From)
	member("state", string(r.State))
	member("reason", r.Reason)
	count("code", r.Code)
	showDetail(client.ErrorDetail(r.Detail), member)
	member("class", string(r.Class))
	member("type", r.Type)
	member("template", r.Template)
	member("fallback template", r.Fallback)
	member("in place of template", r.Instead)
	member("in place of message", r.MovedFrom)
	member("moved to message", r.MovedTo)
	member("to", message.Mask(r.To))
	member("ref", r.Ref)
	member("tags", strings.Join(r.Tags, ", "))
	member("client", r.Client)
	member("campaign", r.Campaign)
	member("messaging account", r.Context.Account)
	member("billed as", r.Billed)
	member("estimated price", money(r.Price))
	member("spent", money(r.Spent))
	at("spent since", r.SpentAt)
	member("callback data", r.Callback)
	at("accepted", r.AcceptedAt)
	at("send at", r.SendAt)
	at("next at", r.NextAt)
	at("can be sent since", r.ReadyAt)
	at("expires", r.ExpiresAt)
	at("key until", r.KeyUntil)
	count("attempts", r.Attempt)
	count("failures", r.Failures)
	count("resends", r.Resends)
	count("attempts proven not delivered", r.Proven)
	if r.Published {
		t.row("final event", "published before this state")
	}
	count("task", r.Task)
	if r.Waits() {
		t.row("waits for", string(r.After.State)+" of "+r.After.ID)
	}
	for _, f := range r.Followers {
		t.row("followed by", f.ID+", which waits for "+string(f.State))
	}
	member("attempt token", r.Token)
	member("wamid", r.WAMID)
	member("other wamids", strings.Join(r.Others, ", "))
	member("refused wamids", strings.Join(r.Refused, ", "))
	count("duplicates", r.Duplicates)
	member("account", r.Account)
	member("traceparent", r.Trace)
	member("request hash", r.Hash)
	size("recipient key", r.Recipient)
	size("recipient hash", r.RecipientHash)
	size("payload", r.Payload)
	size("payload with the fallback template", r.Other)
	t.row("version", fmt.Sprintf("%d, the length in bytes (format %d)", r.Version(), record.Format))
}

func printTimeline(t table, steps []message.Step) {
	t.row("TIME", "STATE", "ATTEMPT", "CODE", "REASON")
	for _, s := range steps {
		t.row(s.At.Local().Format("2006-01-02 15:04:05.000"), s.State, s.Attempt, s.Code, s.Reason)
	}
}

// place describes an entry of a list.
func place(p record.ListEntry) string {
	if p.List == message.NoList {
		return "none"
	}
	return fmt.Sprintf("%s, ordered by %s", p.List, clock(time.UnixMilli(p.Score), ""))
}

// compared says whether the lists in Redis agree with the record.
func compared(r record.Record, found []record.ListEntry) string {
	want := r.ListEntry()
	switch {
	case len(found) == 0 && want.List == message.NoList, len(found) == 1 && found[0] == want:
		return "in the right list"
	case len(found) == 0:
		return "DIFFERENT: in no list"
	case len(found) == 1 && found[0].List == message.ListInDoubt && want.List == message.ListInDoubt && found[0].Score > want.Score:
		return "postponed: " + place(found[0]) // while no webhooks come, see Ledger.Postpone
	}
	all := make([]string, len(found))
	for i, p := range found {
		all[i] = place(p)
	}
	return "DIFFERENT: " + strings.Join(all, "; ")
}
