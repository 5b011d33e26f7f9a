package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

type suppressionsCmd struct {
	List   suppressionsListCmd   `cmd:"" help:"List the people in a suppression list, the latest first, with masked recipients."`
	Show   suppressionsShowCmd   `cmd:"" help:"Show whether a person is in a suppression list, and why."`
	Add    suppressionsAddCmd    `cmd:"" help:"Add a person to a suppression list."`
	Remove suppressionsRemoveCmd `cmd:"" help:"Remove a person from a suppression list: the person wants marketing messages again."`
	Import suppressionsImportCmd `cmd:"" help:"Add the people of a CSV or a file of JSON lines to a suppression list."`
	Export suppressionsExportCmd `cmd:"" help:"Print a whole suppression list with the recipients, as CSV or JSON lines."`
}

// suppressionFlags name a list.
type suppressionFlags struct {
	Client *string `help:"The client whose list it is. Default: the client of the API key, or the list of the numbers without a client." placeholder:"NAME"`
	apiFlags
}

// suppressedFlags name a person in a list.
type suppressedFlags struct {
	To string `required:"" help:"File with a phone number of the person with its country code, or a business-scoped user id. - reads it from the standard input." placeholder:"FILE"`
	suppressionFlags
}

// request returns the body of a request about the person.
func (f suppressedFlags) request(in io.Reader) (map[string]any, error) {
	to, err := readRecipient(f.To, in)
	body := map[string]any{"recipient": to}
	if f.Client != nil {
		body["client"] = *f.Client
	}
	return body, err
}

// suppressed is an entry of a list.
type suppressed struct {
	Recipient, Client, Source, Reason string
	Key                               string    `json:"api_key"`
	Number                            string    `json:"phone_number_id"`
	At                                time.Time `json:"at"`
}

type suppressionsListCmd struct {
	Limit  *int    `help:"Number of entries, 1 to 1000. Default: 100." placeholder:"N"`
	Cursor *string `help:"Where to go on: the cursor that the last page printed." placeholder:"CURSOR"`
	suppressionFlags
}

// Run lists entries.
func (c suppressionsListCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", query("/v1/suppressions", "client", c.Client, "limit", c.Limit, "cursor", c.Cursor), nil, read(func(t table, a struct {
		Suppressions []suppressed
		Next         string `json:"next_cursor"`
	},
	) {
		t.row("RECIPIENT", "SINCE", "SOURCE", "NUMBER", "API KEY", "REASON")
		for _, one := range a.Suppressions {
			t.row(one.Recipient, one.At.Format(time.RFC3339), one.Source, cmp.Or(one.Number, "-"), cmp.Or(one.Key, "-"), cmp.Or(one.Reason, "-"))
		}
		if a.Next != "" {
			t.row("More: --cursor " + a.Next)
		}
	}))
}

type suppressionsShowCmd struct{ suppressedFlags }

// Run shows an entry.
func (c suppressionsShowCmd) Run(ctx context.Context) error {
	body, err := c.request(os.Stdin)
	if err != nil {
		return err
	}
	return c.ask(ctx, "POST", "/v1/suppressions/show", body, read(func(t table, one suppressed) {
		t.row("recipient", one.Recipient)
		t.row("client", cmp.Or(one.Client, "-"))
		t.row("since", one.At.Format(time.RFC3339))
		t.row("source", one.Source)
		t.row("number", cmp.Or(one.Number, "-"))
		t.row("API key", cmp.Or(one.Key, "-"))
		t.row("reason", cmp.Or(one.Reason, "-"))
	}))
}

type suppressionsAddCmd struct {
	Reason string `help:"Why, up to 200 characters. Write no phone number and no name into it."`
	suppressedFlags
}

// Run adds a person.
func (c suppressionsAddCmd) Run(ctx context.Context) error {
	return c.order(ctx, "/v1/suppressions", c.Reason, os.Stdin, "The person was in the list before.", "The person gets no marketing messages from now on.")
}

type suppressionsRemoveCmd struct {
	Reason string `help:"Why, up to 200 characters. Write no phone number and no name into it."`
	suppressedFlags
}

// Run removes a person.
func (c suppressionsRemoveCmd) Run(ctx context.Context) error {
	return c.order(ctx, "/v1/suppressions/remove", c.Reason, os.Stdin, "The person was not in the list.", "The person may get marketing messages again.")
}

// order changes a list, and prints same or changed.
func (f suppressedFlags) order(ctx context.Context, path, reason string, in io.Reader, same, changed string) error {
	body, err := f.request(in)
	if err != nil {
		return err
	}
	if reason != "" {
		body["reason"] = reason
	}
	return f.ask(ctx, "POST", path, body, read(func(t table, a struct{ Changed bool }) {
		if a.Changed {
			t.row(changed)
		} else {
			t.row(same)
		}
	}))
}

type suppressionsImportCmd struct {
	File string `arg:"" help:"A CSV whose first line names the columns recipient and optionally reason and at, or a file of JSON lines. - reads JSON lines from the standard input, unless --csv is given." placeholder:"FILE"`
	CSV  bool   `name:"csv" help:"The file is a CSV. Default: if its name ends in .csv."`
	suppressionFlags
}

// Run imports a file.
func (c suppressionsImportCmd) Run(ctx context.Context) error {
	in := os.Stdin
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	media := "application/x-ndjson"
	if c.CSV || strings.HasSuffix(strings.ToLower(c.File), ".csv") {
		media = "text/csv"
	}
	answer, err := c.stream(ctx, http.MethodPost, query("/v1/suppressions/import", "client", c.Client), media, in)
	if err != nil {
		return err
	}
	defer answer.Close()
	var done struct {
		Added, Unchanged, Refused int
		Errors                    []struct {
			Line int
			Code string
		}
	}
	if err := json.NewDecoder(answer).Decode(&done); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Printf("%d added, %d unchanged, %d refused\n", done.Added, done.Unchanged, done.Refused)
	for _, e := range done.Errors {
		fmt.Printf("line %d: %s\n", e.Line, e.Code)
	}
	if done.Refused > 0 {
		return fmt.Errorf("%d lines were not imported. Correct them and import the file again", done.Refused)
	}
	return nil
}

type suppressionsExportCmd struct {
	Format string `default:"csv" enum:"csv,ndjson" help:"csv or ndjson." placeholder:"FORMAT"`
	suppressionFlags
}

// Run prints a list.
func (c suppressionsExportCmd) Run(ctx context.Context) error {
	list, err := c.stream(ctx, http.MethodGet, query("/v1/suppressions/export", "client", c.Client, "format", &c.Format), "", http.NoBody)
	if err != nil {
		return err
	}
	defer list.Close()
	if _, err := io.Copy(os.Stdout, list); err != nil {
		return fmt.Errorf("the list was not read to its end: %w", err)
	}
	return nil
}

// stream makes a request whose body or answer is a file, and returns the body of the answer.
func (f suppressionFlags) stream(ctx context.Context, method, path, media string, in io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(f.API, "/")+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+f.APIKey)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	var problem struct{ Title, Detail, Code string }
	json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&problem) // a proxy's answer has none
	return nil, fmt.Errorf("%s: %s", answer.Status, cmp.Or(problem.Detail, problem.Title, problem.Code))
}
