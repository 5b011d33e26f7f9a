package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sluice/internal/importer"
	"sluice/internal/importfile"
)

type importCmd struct {
	API    string `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string `env:"SLUICE_API_KEY" required:"" help:"API key; better in the environment than on the command line."`
	File   string `arg:"" help:"CSV: a message in each row. NDJSON: a body of POST /v1/messages on each line. Each also compressed with gzip. - for standard input."`

	Results string `xor:"results" placeholder:"FILE" help:"Write the result of each row to this CSV file. With a file of an earlier run, rows that have a result are skipped."`
	DryRun  bool   `xor:"results" help:"Check all rows and the links to media, and count what would happen. Nothing is sent."`
	IDs     bool   `name:"ids" help:"Print each line's number with the id of its message."`

	importer.Mapping `embed:""`
}

// Help returns the text after the help of the command.
func (importCmd) Help() string {
	return `While the API accepts no messages, the import waits and then goes on. After a break, run the same command again: a message whose key was accepted before is not sent again. docs/import.md has examples.

The first row of a CSV file names the columns. They are:

to: the recipient, with its plus. from: the phone number id of the sender.

text: the text of a text message; or template: a template as name/language, such as order_update/en_US, with its parameters in the columns body_1, body_2 and so on, button_0 to button_9, and header, header_image, header_video or header_document; or message: Meta's message object as JSON. A row has one of the three.

fallback_template: for a row with template, another template as name/language, which gets the same parameters. For a row with text or message, the template that is sent when the customer service window of the recipient is closed, with the parameters of the row.

key, ref, class, tags, campaign, send_at, expires_at: as in POST /v1/messages. Several tags are separated by |.

With --to the file has columns of its own. ` + "In the values of flags `{{name}}` stands for the cell in the column name: `--to phone --template order_update/en --param '1={{name}}'`. --to, --key and --ref are the name of a column, or a text with `{{name}}` in it." + `

A row without key gets a key that is made of its content and --name. So equal rows are sent once: the second one is a duplicate.`
}

// Run sends the rows, reports on standard error which were refused and why, and prints how many
// were accepted. While the API is unavailable it waits.
func (c importCmd) Run(ctx context.Context) error {
	options, err := c.Options()
	if err != nil {
		return err
	}
	in, size := os.Stdin, int64(0)
	if c.File != "-" {
		if in, err = os.Open(c.File); err != nil {
			return err
		}
		defer in.Close()
		if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	file, err := importfile.Open(in, options)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	shown := &progress{out: os.Stderr, bar: terminal(os.Stderr)}
	o := importer.Options{API: once(c.API, c.APIKey), File: file, Size: size, DryRun: c.DryRun, Notes: shown}
	if c.IDs {
		o.IDs = os.Stdout
	}
	if c.Results != "" {
		if o.Results, err = importfile.OpenResults(c.Results); err != nil {
			return err
		}
	}
	im := importer.New(o)
	end := shown.follow(im.Progress)
	err = im.Run(ctx)
	end()
	im.Report(os.Stdout, time.Now())
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(os.Stderr, "Stopped. To go on, run the same command again%s. No message that was accepted is sent again.\n", map[bool]string{true: " with the same input"}[c.File == "-"])
	case err == nil && im.Progress().Refused > 0:
		err = errors.New("not all rows were accepted")
	case err == nil && im.Progress().Unusable > 0:
		err = errors.New("not all media can be used")
	}
	return err
}
