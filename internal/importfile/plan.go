package importfile

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Value fills a column from others. In Pattern, {{column}} stands for the cell of that column of the file.
type Value struct {
	Flag    string // for errors, for example --param 1
	Column  string // one of Columns, or one of IsParameter
	Pattern string
}

// Template is a template for a share of the rows. The key of a row decides, so a row always has the same one.
type Template struct {
	Pattern string // name/language; see Value
	Share   int    // relative to the sum of all, 1 or more
}

// ParseTemplates reads templates from the form name/language or name/language=share.
func ParseTemplates(all []string) (templates []Template, err error) {
	for _, text := range all {
		t := Template{text, 1}
		if i := strings.LastIndexByte(text, '='); i >= 0 {
			t.Pattern = text[:i]
			if t.Share, err = strconv.Atoi(text[i+1:]); err != nil || t.Share < 1 || t.Share > 1_000_000 {
				return nil, fmt.Errorf("--template %s: the share after = is not a whole number from 1 to 1000000", text)
			}
		} else if len(all) > 1 {
			return nil, fmt.Errorf("--template %s: with several templates each needs a share, for example %s=50", text, text)
		}
		templates = append(templates, t)
	}
	return templates, nil
}

// plan says what the cells of a row mean.
type plan struct {
	names     []string // the columns of the file
	mapped    bool     // only values are read
	values    []value
	templates []choice
	shares    int // the sum
}

// value is a Value that was read.
type value struct {
	Value
	parts []part
}

// choice is a Template that was read.
type choice struct {
	value
	share int
}

// part is a part of a pattern: a column of the file, or a text.
type part struct {
	text   string
	column int // -1: text
}

// newPlan reads the names of the columns, which are the first row.
func newPlan(names []string, o Options) (*plan, error) {
	p := &plan{mapped: o.Mapped}
	for _, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !o.Mapped && !slices.Contains(Columns, name) && !IsParameter(name):
			return nil, fmt.Errorf("line 1: there is no column %q. The columns are %s, and body_1, body_2 and so on, button_0 to button_9, header, header_image, header_video, header_document. If the file has columns of its own, name the one with the recipients: --to COLUMN",
				name, strings.Join(Columns, ", "))
		case !o.Mapped && slices.Contains(p.names, name):
			return nil, fmt.Errorf("line 1: the column %s is there twice: remove one", name)
		}
		p.names = append(p.names, name)
	}
	has := slices.ContainsFunc(contents, func(c string) bool { return !o.Mapped && slices.Contains(p.names, c) }) || len(o.Templates) > 0
	for _, v := range o.Values {
		has = has || slices.Contains(contents, v.Column)
		one, err := p.value(v)
		if err != nil {
			return nil, err
		}
		p.values = append(p.values, one)
	}
	if !has {
		return nil, errors.New("line 1: no column has the content of the messages: add text, template or message, or use --template or --text")
	}
	for _, t := range o.Templates {
		one, err := p.value(Value{"--template", "template", t.Pattern})
		if err != nil {
			return nil, err
		}
		p.templates = append(p.templates, choice{one, t.Share})
		p.shares += t.Share
	}
	return p, nil
}

// value reads the pattern of a value.
func (p *plan) value(v Value) (value, error) {
	one := value{Value: v}
	for rest := v.Pattern; rest != ""; {
		text, after, found := strings.Cut(rest, "{{")
		if text != "" {
			one.parts = append(one.parts, part{text, -1})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(after, "}}")
		if !closed {
			return one, fmt.Errorf("%s: {{ has no }} after it in %q", v.Flag, v.Pattern)
		}
		name = strings.ToLower(strings.TrimSpace(name))
		column := slices.Index(p.names, name)
		if column < 0 {
			return one, fmt.Errorf("%s: the file has no column %q. Its columns are %s", v.Flag, name, strings.Join(p.names, ", "))
		}
		if slices.Contains(p.names[column+1:], name) {
			return one, fmt.Errorf("%s: the file has the column %q twice. Rename one", v.Flag, name)
		}
		one.parts = append(one.parts, part{name, column})
		rest = after
	}
	return one, nil
}

// of returns the value for a row.
func (v value) of(record []string) string {
	var b strings.Builder
	for _, p := range v.parts {
		if p.column < 0 {
			b.WriteString(p.text)
		} else {
			b.WriteString(record[p.column])
		}
	}
	return b.String()
}

// empty returns the first column that the value needs and the row leaves empty.
func (v value) empty(record []string) string {
	for _, p := range v.parts {
		if p.column >= 0 && record[p.column] == "" {
			return p.text
		}
	}
	return ""
}

// cells returns the cells of a row by the names of Columns, without empty ones. If the row gets one of several templates, it
// returns these, in place of the cell template.
func (p *plan) cells(record []string) (cells map[string]string, templates []string, err error) {
	cells = map[string]string{}
	if !p.mapped {
		for i, cell := range record {
			if cell != "" {
				cells[p.names[i]] = cell
			}
		}
	}
	for _, v := range p.values {
		if cells[v.Column] != "" || slices.Contains(contents, v.Column) && hasContent(cells) {
			continue
		}
		if column := v.empty(record); column != "" && required(v.Column) {
			return nil, nil, mistake("%s: the cell %s is empty", v.Flag, column)
		}
		if text := v.of(record); text != "" {
			cells[v.Column] = text
		}
	}
	if len(p.templates) == 0 || hasContent(cells) {
		return cells, nil, nil
	}
	for _, t := range p.templates {
		if column := t.empty(record); column != "" {
			return nil, nil, mistake("%s: the cell %s is empty", t.Flag, column)
		}
		templates = append(templates, t.of(record))
	}
	if len(templates) == 1 {
		cells["template"], templates = templates[0], nil
	}
	return cells, templates, nil
}

func hasContent(cells map[string]string) bool {
	return slices.ContainsFunc(contents, func(c string) bool { return cells[c] != "" })
}

// required reports whether an empty cell in the pattern of a column is a mistake, because the message would be wrong without it.
func required(column string) bool {
	return column == "to" || column == "key" || column == "from" || column == "campaign" || IsParameter(column)
}

// choose returns the template of a row that may have several, by its key.
func (p *plan) choose(templates []string, key string) string {
	sum := sha256.Sum256([]byte(key))
	at := int(binary.BigEndian.Uint64(sum[:]) % uint64(p.shares))
	for i, t := range p.templates {
		if at < t.share {
			return templates[i]
		}
		at -= t.share
	}
	panic("unreachable: at is less than the sum of the shares")
}
