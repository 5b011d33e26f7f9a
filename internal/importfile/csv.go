package importfile

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// csvFile reads the rows of a CSV file.
type csvFile struct {
	source
	in   *csv.Reader
	name string // of the import
	plan *plan
	from string // the sender of rows without one
	line int    // where the row that was read last begins
}

// body is a body of POST /v1/messages.
type body struct {
	From      string         `json:"from,omitempty"`
	Key       string         `json:"key,omitempty"`
	Ref       string         `json:"ref,omitempty"`
	Class     string         `json:"class,omitempty"`
	Tags      []string       `json:"tags,omitempty"`
	Campaign  string         `json:"campaign,omitempty"`
	SendAt    string         `json:"send_at,omitempty"`
	ExpiresAt string         `json:"expires_at,omitempty"`
	Message   map[string]any `json:"message"`
	Fallback  map[string]any `json:"fallback_template,omitempty"`
}

// openCSV reads the first row, the names of the columns.
func openCSV(s source, o Options) (f *csvFile, names []string, err error) {
	f = &csvFile{source: s, in: csv.NewReader(s.text), from: o.From}
	f.in.ReuseRecord = true
	if f.in.Comma, err = delimiter(s.text, o.Delimiter); err != nil {
		return nil, nil, err
	}
	names, err = f.read()
	if errors.Is(err, io.EOF) {
		return nil, nil, errors.New("the file is empty: its first row must name the columns")
	}
	return f, names, err
}

// newCSV reads the first row, and what its columns mean.
func newCSV(s source, o Options) (*csvFile, error) {
	f, names, err := openCSV(s, o)
	if err != nil {
		return nil, err
	}
	f.name = o.Name
	f.plan, err = newPlan(names, o)
	return f, err
}

// delimiters are those that are detected.
const delimiters = ",;\t|"

// delimiter returns what is between the cells: what the user says, or the most frequent one outside of quotes in the first row.
func delimiter(text *bufio.Reader, said string) (rune, error) {
	if said == "tab" || said == `\t` {
		said = "\t"
	}
	if said != "" {
		c, size := utf8.DecodeRuneInString(said)
		if size != len(said) || strings.ContainsRune("\"\r\n\ufeff", c) || c == utf8.RuneError {
			return 0, errors.New("delimiter: is not one character. Use for example ; or tab")
		}
		return c, nil
	}
	best, most, quoted := ',', 0, false
	counts := map[byte]int{}
	for n := range 4 << 10 {
		head, err := text.Peek(n + 1) // no more than the first row: the next one can come much later
		if err != nil || head[n] == '\n' && !quoted {
			break
		}
		if c := head[n]; c == '"' {
			quoted = !quoted
		} else if !quoted {
			counts[c]++
		}
	}
	for _, c := range delimiters {
		if counts[byte(c)] > most {
			best, most = c, counts[byte(c)]
		}
	}
	return best, nil
}

// read returns the cells of the next row.
func (f *csvFile) read() ([]string, error) {
	f.limit.allow()
	cells, err := f.in.Read()
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return nil, unreadable(err, f.line+1)
	}
	f.line, _ = f.in.FieldPos(0)
	for _, cell := range cells {
		if err := f.check(cell); err != nil { // then no other row is to be trusted
			return nil, fmt.Errorf("line %d: %w", f.line, err)
		}
	}
	return cells, err
}

// unreadable returns the error of a row that is no CSV. Where the next row begins is not certain.
func unreadable(err error, line int) error {
	if broken, is := errors.AsType[*csv.ParseError](err); is {
		return fmt.Errorf("line %d: the quotes of the row that begins there are not closed, or a quote in a cell is not written twice. The import ends here. Correct the file and import it again", broken.StartLine)
	}
	if errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("line %d or later: %w. The import ends here", line, err)
}

func (f *csvFile) next() (row Row, err error) {
	record, err := f.read()
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return row, err
	}
	row.Line = f.line
	if err != nil {
		return row, mistake("the row has %d cells, and the first row has %d: write a cell with a %q in it in quotes", len(record), len(f.plan.names), f.in.Comma)
	}
	cells, templates, err := f.plan.cells(record)
	if err != nil {
		return row, err
	}
	one, err := f.body(cells, templates)
	row.Key = one.Key
	if err != nil {
		return row, err
	}
	row.Body, err = json.Marshal(one)
	return row, err
}

// body returns the message of some cells, with one of the templates if there are some.
func (f *csvFile) body(cells map[string]string, templates []string) (b body, err error) {
	if from := cmp.Or(cells["from"], f.from); from != "" {
		cells["from"] = from
	}
	b = body{
		From: cells["from"], Key: cells["key"], Ref: cells["ref"], Class: cells["class"], Campaign: cells["campaign"],
		SendAt: cells["send_at"], ExpiresAt: cells["expires_at"],
	}
	if b.Key == "" {
		b.Key = contentKey("csv", content(cells, templates), f.name)
	}
	if templates != nil {
		cells["template"] = f.plan.choose(templates, b.Key)
	}
	if cells["tags"] != "" {
		b.Tags = strings.Split(cells["tags"], "|")
	}
	if b.Message, err = messageOf(cells); err != nil || cells["fallback_template"] == "" {
		return b, err
	}
	b.Fallback, err = templateOf("fallback_template", cells)
	return b, err
}

// content returns what the key of a row without one is made of. It must not change between versions.
func content(cells map[string]string, templates []string) (b []byte) {
	for _, column := range slices.Sorted(maps.Keys(cells)) {
		b = fmt.Appendf(b, "%d:%s%d:%s", len(column), column, len(cells[column]), cells[column])
	}
	for _, template := range templates {
		b = fmt.Appendf(b, "%d:%s", len(template), template)
	}
	return b
}
