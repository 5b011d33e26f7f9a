package importer

import (
	"fmt"
	"strings"

	"sluice/internal/importfile"
)

// Mapping says how a file is read and what its columns mean. Its tags make it flags of sluice import and members of JSON.
type Mapping struct {
	Name string `json:"name" help:"Name of the import, a part of the keys of rows without key. Set a new name to send the same rows again."`

	Format    string `json:"format" enum:"ndjson,csv," default:"" help:"ndjson or csv. Default: ndjson if the first character is {, otherwise csv."`
	Encoding  string `json:"encoding" help:"Encoding of the file, for example windows-1252. A byte order mark wins. Default: utf-8."`
	Delimiter string `json:"delimiter" help:"CSV: the character between the cells, or tab. Default: the most frequent of comma, semicolon, tab and vertical bar in the first row."`

	From     string   `json:"from" env:"PHONE_NUMBER_ID" help:"CSV: phone number id of the sender, for rows without from."`
	To       string   `json:"to" placeholder:"COLUMN" help:"CSV: the file has columns of its own, and this one has the recipients. Only columns that flags name are read."`
	Template []string `json:"template" sep:"none" placeholder:"NAME/LANGUAGE" help:"CSV: template of rows without content. Several, each with a share, as a/en=50 b/en=50, divide the rows."`
	Param    []string `json:"param" sep:"none" placeholder:"N=VALUE" help:"CSV: parameter of the template: 1 and so on of the body, button_0, header, header_image, header_video or header_document."`
	Text     string   `json:"text" help:"CSV: text of rows without content."`
	Key      string   `json:"key" placeholder:"COLUMN" help:"CSV: the column with the idempotency keys."`
	Ref      string   `json:"ref" placeholder:"COLUMN" help:"CSV: the column with your references."`

	Campaign         string `json:"campaign" help:"CSV: campaign of rows without one."`
	Class            string `json:"class" help:"CSV: class of rows without one."`
	Tags             string `json:"tags" help:"CSV: tags of rows without some."`
	SendAt           string `json:"send_at" help:"CSV: send_at of rows without one."`
	ExpiresAt        string `json:"expires_at" help:"CSV: expires_at of rows without one."`
	FallbackTemplate string `json:"fallback_template" placeholder:"NAME/LANGUAGE" help:"CSV: fallback template of rows without one. It gets the parameters of the row."`
}

// Options returns how the file is read. Its errors name the flags of sluice import.
func (m Mapping) Options() (o importfile.Options, err error) {
	o = importfile.Options{Format: m.Format, Encoding: m.Encoding, Delimiter: m.Delimiter, Name: m.Name, From: m.From, Mapped: m.To != ""}
	if o.Templates, err = importfile.ParseTemplates(m.Template); err != nil {
		return o, err
	}
	for _, v := range []importfile.Value{
		{Flag: "--to", Column: "to", Pattern: column(m.To)},
		{Flag: "--key", Column: "key", Pattern: column(m.Key)},
		{Flag: "--ref", Column: "ref", Pattern: column(m.Ref)},
		{Flag: "--text", Column: "text", Pattern: m.Text},
		{Flag: "--campaign", Column: "campaign", Pattern: m.Campaign},
		{Flag: "--class", Column: "class", Pattern: m.Class},
		{Flag: "--tags", Column: "tags", Pattern: m.Tags},
		{Flag: "--send-at", Column: "send_at", Pattern: m.SendAt},
		{Flag: "--expires-at", Column: "expires_at", Pattern: m.ExpiresAt},
		{Flag: "--fallback-template", Column: "fallback_template", Pattern: m.FallbackTemplate},
	} {
		if v.Pattern != "" {
			o.Values = append(o.Values, v)
		}
	}
	for _, text := range m.Param {
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
