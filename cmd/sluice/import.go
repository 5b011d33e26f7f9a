package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sluice/internal/importfile"
)

type importCmd struct {
	API    string `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string `env:"SLUICE_API_KEY" required:"" help:"API key; better in the environment than on the command line."`
	File   string `arg:"" help:"CSV: a message in each row. NDJSON: a body of POST /v1/messages on each line. Each also compressed with gzip. - for standard input."`

	Results string `xor:"results" placeholder:"FILE" help:"Write the result of each row to this CSV file. With a file of an earlier run, rows that have a result are skipped."`
	DryRun  bool   `xor:"results" help:"Check all rows and the links to media, and count what would happen. Nothing is sent."`
	IDs     bool   `name:"ids" help:"Print each line's number with the id of its message."`
	Name    string `help:"Name of the import, a part of the keys of rows without key. Set a new name to send the same rows again."`

	Format    string `enum:"ndjson,csv," default:"" help:"ndjson or csv. Default: ndjson if the first character is {, otherwise csv."`
	Encoding  string `help:"Encoding of the file, for example windows-1252. A byte order mark wins. Default: utf-8."`
	Delimiter string `help:"CSV: the character between the cells, or tab. Default: the most frequent of comma, semicolon, tab and vertical bar in the first row."`

	From     string   `env:"PHONE_NUMBER_ID" help:"CSV: phone number id of the sender, for rows without from."`
	To       string   `placeholder:"COLUMN" help:"CSV: the file has columns of its own, and this one has the recipients. Only columns that flags name are read."`
	Template []string `sep:"none" placeholder:"NAME/LANGUAGE" help:"CSV: template of rows without content. Several, each with a share, as a/en=50 b/en=50, divide the rows."`
	Param    []string `sep:"none" placeholder:"N=VALUE" help:"CSV: parameter of the template: 1 and so on of the body, button_0, header, header_image, header_video or header_document."`
	Text     string   `help:"CSV: text of rows without content."`
	Key      string   `placeholder:"COLUMN" help:"CSV: the column with the idempotency keys."`
	Ref      string   `placeholder:"COLUMN" help:"CSV: the column with your references."`

	Campaign         string `help:"CSV: campaign of rows without one."`
	Class            string `help:"CSV: class of rows without one."`
	Tags             string `help:"CSV: tags of rows without some."`
	SendAt           string `help:"CSV: send_at of rows without one."`
	ExpiresAt        string `help:"CSV: expires_at of rows without one."`
	FallbackTemplate string `placeholder:"NAME/LANGUAGE" help:"CSV: fallback template of rows without one. It gets the parameters of the row."`
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

A row without key gets a key that is made of its content and --name. The second of two equal rows gets another key than the first, so both are sent.`
}

// Run sends the rows, reports on standard error which were refused and why, and prints how many
// were accepted. While the API is unavailable it waits.
func (c importCmd) Run(ctx context.Context) error {
	options, err := c.options()
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
	api := once(c.API, c.APIKey)
	im := newImporter(api.SendLines, &progress{out: os.Stderr, bar: terminal(os.Stderr), every: importProgress, size: size, read: file.BytesRead})
	check := &dryRun{api: api, kinds: map[string]int{}}
	if c.DryRun {
		im.call = check.call
	}
	if c.IDs {
		im.ids = os.Stdout
	}
	if c.Results != "" {
		if im.results, err = importfile.OpenResults(c.Results); err != nil {
			return err
		}
	}
	go im.read(ctx, file)
	err = im.run(ctx)
	if c.DryRun && err == nil {
		err = check.media.run(ctx, api)
	}
	im.mu.Lock() // after an error rows may still be read
	defer im.mu.Unlock()
	if im.results != nil {
		err = errors.Join(err, im.results.Close())
	}
	im.progress.clear()
	c.report(os.Stdout, im, check)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(os.Stderr, "Stopped. To go on, run the same command again%s. No message that was accepted is sent again.\n", map[bool]string{true: " with the same input"}[c.File == "-"])
	case err == nil && im.counts[importfile.Refused] > 0:
		err = errors.New("not all rows were accepted")
	case err == nil && check.media.wrong > 0:
		err = errors.New("not all media can be used")
	}
	return err
}

// report prints what became of the rows.
func (c importCmd) report(out io.Writer, im *importer, check *dryRun) {
	if c.DryRun {
		check.report(out, im, time.Now())
	} else {
		fmt.Fprintln(out, im.said())
	}
	if im.skipped > 0 {
		fmt.Fprintf(out, "%d rows had a result in %s before, and were skipped\n", im.skipped, c.Results)
	}
	im.reportCodes(out)
}

// options returns how the file is read.
func (c importCmd) options() (o importfile.Options, err error) {
	o = importfile.Options{Format: c.Format, Encoding: c.Encoding, Delimiter: c.Delimiter, Name: c.Name, From: c.From, Mapped: c.To != ""}
	if o.Templates, err = importfile.ParseTemplates(c.Template); err != nil {
		return o, err
	}
	for _, v := range []importfile.Value{
		{Flag: "--to", Column: "to", Pattern: column(c.To)},
		{Flag: "--key", Column: "key", Pattern: column(c.Key)},
		{Flag: "--ref", Column: "ref", Pattern: column(c.Ref)},
		{Flag: "--text", Column: "text", Pattern: c.Text},
		{Flag: "--campaign", Column: "campaign", Pattern: c.Campaign},
		{Flag: "--class", Column: "class", Pattern: c.Class},
		{Flag: "--tags", Column: "tags", Pattern: c.Tags},
		{Flag: "--send-at", Column: "send_at", Pattern: c.SendAt},
		{Flag: "--expires-at", Column: "expires_at", Pattern: c.ExpiresAt},
		{Flag: "--fallback-template", Column: "fallback_template", Pattern: c.FallbackTemplate},
	} {
		if v.Pattern != "" {
			o.Values = append(o.Values, v)
		}
	}
	for _, text := range c.Param {
		name, pattern, ok := strings.Cut(text, "=")
		column := name
		if importfile.IsParameter("body_" + name) {
			column = "body_" + name
		}
		if !ok || !importfile.IsParameter(column) {
			return o, fmt.Errorf("--param %s: write it as 1=VALUE for the body, or with button_0, header, header_image, header_video or header_document in place of 1", text)
		}
		o.Values = append(o.Values, importfile.Value{Flag: "--param " + name, Column: column, Pattern: pattern})
	}
	return o, nil
}

// column returns the pattern for a flag that names a column, or is a pattern itself.
func column(flag string) string {
	if flag == "" || strings.Contains(flag, "{{") {
		return flag
	}
	return "{{" + flag + "}}"
}

// importPause is the time between two tries while the API accepts no messages.
const importPause = 2 * time.Second

// pause waits before the next try.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(importPause):
		return nil
	}
}
