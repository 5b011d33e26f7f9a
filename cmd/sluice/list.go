package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/client"
)

type listCmd struct {
	IDs           []string  `arg:"" optional:"" name:"id" help:"Ids of messages. Without ids give --state, --tag, --campaign, --code or --ref."`
	State         *string   `help:"In this state, or in one of several states, separated by commas." placeholder:"STATE"`
	Tag           *string   `help:"Accepted with this tag."`
	Campaign      *string   `help:"Of this campaign."`
	Client        *string   `help:"With --campaign: of this client." placeholder:"NAME"`
	Code          *int      `help:"With this error code of Meta."`
	Ref           *string   `help:"With this reference; needs --phone-number-id."`
	PhoneNumberID *string   `help:"From this phone number id." placeholder:"ID"`
	Since         time.Time `help:"That came into their present state at this time or later, for example 2026-01-31T15:04:05Z." placeholder:"TIME"`
	Until         time.Time `help:"That came into their present state at this time or earlier." placeholder:"TIME"`
	Limit         int       `default:"100" help:"Maximum number of messages. 0: all."`
	apiFlags
}

// Validate is called when the command line was read.
func (l listCmd) Validate() error {
	switch {
	case l.Limit < 0:
		return errors.New("--limit is negative: give how many messages to list, or 0 for all")
	case len(l.IDs) == 0 && l.State == nil && l.Tag == nil && l.Campaign == nil && l.Code == nil && l.Ref == nil:
		return errors.New("nothing selects messages: give their ids, --state, --tag, --campaign, --code or --ref")
	}
	return nil
}

// Run lists messages, page by page.
func (l listCmd) Run(ctx context.Context) error { return l.list(ctx, os.Stdout) }

func (l listCmd) list(ctx context.Context, out io.Writer) error {
	api := once(l.API, l.APIKey)
	var ids *string
	if len(l.IDs) > 0 {
		all := strings.Join(l.IDs, ",")
		ids = &all
	}
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	if !l.JSON {
		t.row(listHead...)
	}
	shown := 0
	for cursor := (*string)(nil); ; {
		var limit *int
		if left := l.Limit - shown; ids == nil && l.Ref == nil && l.Limit > 0 && left < 200 {
			limit = &left
		}
		var page struct {
			Messages   []json.RawMessage `json:"messages"`
			NextCursor string            `json:"next_cursor"`
		}
		err := api.Call(ctx, "GET", query("/v1/messages", "ids", ids, "state", l.State, "tag", l.Tag, "campaign", l.Campaign, "client", l.Client, "code", l.Code, "ref", l.Ref,
			"phone_number_id", l.PhoneNumberID, "since", stamp(l.Since), "until", stamp(l.Until), "cursor", cursor, "limit", limit), nil, &page)
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if l.Limit > 0 && shown == l.Limit {
				break
			}
			shown++
			if l.JSON {
				fmt.Fprintf(out, "%s\n", m)
				continue
			}
			var r client.Record
			if err := json.Unmarshal(m, &r); err != nil {
				return fmt.Errorf("read the API's answer: %w", err)
			}
			t.row(listRow(r)...)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if page.NextCursor == "" {
			return nil
		}
		if l.Limit > 0 && shown >= l.Limit {
			fmt.Fprintf(os.Stderr, "sluice: only the first %d are shown: raise --limit\n", l.Limit)
			return nil
		}
		cursor = &page.NextCursor
	}
}

// listHead and listRow are the columns of a list of messages.
var listHead = []any{"MESSAGE", "STATE", "SINCE", "CLASS", "TO", "REF", "CODE", "REASON"}

func listRow(r client.Record) []any {
	since := time.Time{}
	if n := len(r.Timeline); n > 0 {
		since = r.Timeline[n-1].At
	}
	return []any{r.ID, r.State, clock(since, "-"), r.Class, r.To, r.Ref, count(r.Code), r.Reason}
}
