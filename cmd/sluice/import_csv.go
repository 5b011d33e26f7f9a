package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const csvHelp = `The first row of a CSV file names the columns, which are separated by commas or by semicolons. The columns are:

to: the recipient, with its plus. from: the phone number id of the sender.

text: the text of a text message; or template: a template as name/language, such as order_update/en_US, with the parameters of its body in the columns body_1, body_2 and so on; or message: Meta's message object as JSON. A row has one of the three.

fallback_template: for a row with template, another template as name/language, which gets the same parameters.

key, ref, class, tags, campaign, send_at, expires_at: as in POST /v1/messages. Several tags are separated by |.

A row without key gets a key that is made of its cells and --name. The second of two equal rows gets another key than the first, so both are sent.`

// csvColumns are the columns of a CSV file. body_1 and so on follow the template.
var csvColumns = []string{"from", "to", "text", "template", "message", "fallback_template", "key", "ref", "class", "tags", "campaign", "send_at", "expires_at"}

// csvFile reads the rows of a CSV file as bodies of POST /v1/messages.
type csvFile struct {
	in         *csv.Reader
	columns    []string
	from, name string
	seen       map[uint64]int // how many rows without a key had these cells, by a hash
}

// csvRow is a body of POST /v1/messages.
type csvRow struct {
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

// newCSV reads the first row, the names of the columns. from is the sender of rows without one, name a part of the
// keys of rows without one.
func newCSV(file io.Reader, from, name string) (*csvFile, error) {
	buffered := bufio.NewReaderSize(file, 64<<10)
	if start, _ := buffered.Peek(3); string(start) == "\ufeff" {
		buffered.Discard(3)
	}
	head, _ := buffered.Peek(4 << 10)
	head, _, _ = bytes.Cut(head, []byte{'\n'})
	r := &csvFile{in: csv.NewReader(buffered), from: from, name: name, seen: map[uint64]int{}}
	r.in.ReuseRecord = true
	if bytes.Count(head, []byte{';'}) > bytes.Count(head, []byte{','}) {
		r.in.Comma = ';'
	}
	names, err := r.in.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file is empty: its first row must name the columns")
	case err == nil:
		err = checkText(1, names)
	}
	if err != nil {
		return nil, unreadable(err)
	}
	for _, column := range names {
		column = strings.ToLower(strings.TrimSpace(column))
		switch _, parameter := bodyParameter(column); {
		case !parameter && !slices.Contains(csvColumns, column):
			return nil, fmt.Errorf("line 1: there is no column %q. The columns are %s, and body_1, body_2 and so on", column, strings.Join(csvColumns, ", "))
		case slices.Contains(r.columns, column):
			return nil, fmt.Errorf("line 1: the column %s is there twice: remove one", column)
		}
		r.columns = append(r.columns, column)
	}
	if !slices.ContainsFunc(r.columns, func(c string) bool { return slices.Contains([]string{"text", "template", "message"}, c) }) {
		return nil, errors.New("line 1: no column has the content of the messages: add text, template or message")
	}
	return r, nil
}

// bodyParameter returns the number of a column with a parameter of a template.
func bodyParameter(column string) (n int, ok bool) {
	digits, is := strings.CutPrefix(column, "body_")
	n, err := strconv.Atoi(digits)
	return n, is && err == nil && n > 0 && n <= 100 && digits == strconv.Itoa(n)
}

// rowError is the error of one row: the rows after it can be read.
type rowError struct{ error }

// next returns the next row as a line, io.EOF after the last one, or a rowError with the number of the line.
func (r *csvFile) next() (l line, err error) {
	record, err := r.in.Read()
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return l, unreadable(err)
	}
	l.n, _ = r.in.FieldPos(0)
	if err != nil {
		return l, rowError{fmt.Errorf("the row has %d cells, and the first row has %d: write a cell with a %q in it in quotes", len(record), len(r.columns), r.in.Comma)}
	}
	if err := checkText(l.n, record); err != nil {
		return l, err
	}
	cells := map[string]string{}
	for i, value := range record {
		if value != "" {
			cells[r.columns[i]] = value
		}
	}
	one, err := r.row(cells)
	if err != nil {
		return l, rowError{err}
	}
	l.text, err = json.Marshal(one)
	return l, err
}

// row returns the row of some cells.
func (r *csvFile) row(cells map[string]string) (one csvRow, err error) {
	cells["from"] = cmp.Or(cells["from"], r.from)
	one = csvRow{
		From: cells["from"], Key: cells["key"], Ref: cells["ref"], Class: cells["class"], Campaign: cells["campaign"],
		SendAt: cells["send_at"], ExpiresAt: cells["expires_at"],
	}
	if one.Key == "" {
		one.Key = r.key(cells)
	}
	if cells["tags"] != "" {
		one.Tags = strings.Split(cells["tags"], "|")
	}
	if one.Message, err = messageOf(cells); err != nil || cells["fallback_template"] == "" {
		return one, err
	}
	if cells["template"] == "" {
		return one, errors.New("fallback_template is for a row with a template: empty it")
	}
	one.Fallback, err = templateOf("fallback_template", cells)
	return one, err
}

// key returns the key of a row without one.
func (r *csvFile) key(cells map[string]string) string {
	hash := sha256.New()
	for _, column := range slices.Sorted(maps.Keys(cells)) {
		fmt.Fprintf(hash, "%d:%s%d:%s", len(column), column, len(cells[column]), cells[column])
	}
	fmt.Fprintf(hash, "%s", r.name)
	sum := hash.Sum(nil)
	short := binary.BigEndian.Uint64(sum)
	r.seen[short]++
	return fmt.Sprintf("csv-%s-%d", hex.EncodeToString(sum[:16]), r.seen[short])
}

// messageOf returns Meta's message object of a row.
func messageOf(cells map[string]string) (map[string]any, error) {
	var object map[string]any
	var kinds []string
	for _, kind := range []string{"text", "template", "message"} {
		if cells[kind] != "" {
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) == 0:
		return nil, errors.New("the row has no content: fill one of the cells text, template and message")
	case len(kinds) > 1:
		return nil, fmt.Errorf("the row has %s: fill one of them", strings.Join(kinds, " and "))
	case kinds[0] != "template" && parameters(cells) > 0:
		return nil, errors.New("body_1 and so on are for a row with a template: empty them")
	case kinds[0] == "text":
		object = map[string]any{"type": "text", "text": map[string]string{"body": cells["text"]}}
	case kinds[0] == "template":
		template, err := templateOf("template", cells)
		if err != nil {
			return nil, err
		}
		object = map[string]any{"type": "template", "template": template}
	default:
		numbers := json.NewDecoder(strings.NewReader(cells["message"]))
		numbers.UseNumber()
		if err := numbers.Decode(&object); err != nil || object == nil || numbers.Decode(new(any)) != io.EOF {
			return nil, errors.New("message: is not a JSON object")
		}
		if _, has := object["to"]; has && cells["to"] != "" {
			return nil, errors.New("to: message has a recipient too: remove one of them")
		}
	}
	if cells["to"] != "" {
		object["to"] = cells["to"]
	}
	return object, nil
}

// templateOf returns the object of the template that a column names.
func templateOf(column string, cells map[string]string) (map[string]any, error) {
	name, language, ok := strings.Cut(cells[column], "/")
	if !ok || name == "" || language == "" {
		return nil, fmt.Errorf("%s: write it as name/language, such as order_update/en_US", column)
	}
	template := map[string]any{"name": name, "language": map[string]string{"code": language}}
	most := parameters(cells)
	var all []map[string]string
	for n := range most {
		column := "body_" + strconv.Itoa(n+1)
		if cells[column] == "" {
			return nil, fmt.Errorf("%s: is empty, and body_%d is not", column, most)
		}
		all = append(all, map[string]string{"type": "text", "text": cells[column]})
	}
	if most > 0 {
		template["components"] = []any{map[string]any{"type": "body", "parameters": all}}
	}
	return template, nil
}

// parameters returns the number of the last parameter of a row; 0: it has none.
func parameters(cells map[string]string) (most int) {
	for column := range cells {
		n, _ := bodyParameter(column)
		most = max(most, n)
	}
	return most
}

// checkText returns an error if a row is not UTF-8: then no other row is to be trusted.
func checkText(n int, record []string) error {
	for _, cell := range record {
		if !utf8.ValidString(cell) {
			return fmt.Errorf("line %d: the text is not UTF-8. Save the file as CSV in UTF-8, and import it again", n)
		}
	}
	return nil
}

// unreadable returns the error of a row that is no CSV. Where the next row begins is not certain.
func unreadable(err error) error {
	broken, is := errors.AsType[*csv.ParseError](err)
	if !is {
		return err
	}
	return fmt.Errorf("line %d: the quotes of the row that begins there are not closed, or a quote in a cell is not written twice. The import ends here. Correct the file and import it again", broken.StartLine)
}

// readRows sends the rows into the channel, and counts those that have a mistake as refused.
func (im *importer) readRows(ctx context.Context, r *csvFile) {
	defer close(im.lines)
	for {
		l, err := r.next()
		if mistake, is := errors.AsType[rowError](err); is {
			im.mu.Lock()
			im.refuse(l, mistake)
			im.mu.Unlock()
			continue
		}
		if err != nil {
			im.fail(err)
			return
		}
		if !im.send(ctx, l) {
			return
		}
	}
}
