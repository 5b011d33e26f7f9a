package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	csvMedia = "text/csv"
	// importGroup is how many lines of an import are stored together.
	importGroup = 500
	// importLine is the maximum number of bytes of a line, and importErrors how many mistakes the answer lists.
	importLine   = 4 << 10
	importErrors = 20
)

// suppressionColumns are the columns of a file. An import reads recipient, reason and at.
var suppressionColumns = []string{"recipient", "source", "reason", "api_key", "phone_number_id", "at"}

// suppressionLine is a line of a file: a row of a CSV, or a JSON object with the members of the columns.
type suppressionLine struct {
	Recipient string `json:"recipient" doc:"A phone number with its country code, or a business-scoped user id."`
	Reason    string `json:"reason,omitempty" doc:"Why, up to 200 characters without control characters."`
	At        string `json:"at,omitempty" doc:"When the person opted out, like 2026-01-31T15:04:05Z. Default: now. An entry that is later stays as it is."`
}

// importResult is the answer to an import.
type importResult struct {
	Added     int           `json:"added" doc:"Number of people who were added to the list."`
	Unchanged int           `json:"unchanged" doc:"Number of people who were in the list before, or who opted in again after the time of the line."`
	Refused   int           `json:"refused" doc:"Number of lines that were not imported."`
	Errors    []importError `json:"errors" doc:"The first 20 of them."`
}

type importError struct {
	Line int    `json:"line" doc:"The number of the line. The first line is 1."`
	Code string `json:"code" doc:"The code of the mistake: person_invalid, reason_missing, time_invalid or json_invalid."`
}

func (in *Intake) suppressionFileRoutes() []httpapi.Route {
	client := httpapi.Param{In: "query", Name: "client", Doc: "The list of this client. Default: the client of the API key.", Example: "acme"}
	codes := []string{"client_not_found", "all_numbers_required", "suppressions_need_key", "store_unavailable"}
	return []httpapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/suppressions/import", Name: "importSuppressions", Group: "Suppressions",
			Summary: "Add many people to a suppression list from a file.",
			Doc: "The body is a file of JSON lines, or with `Content-Type: text/csv` a CSV whose first line names the columns: `recipient`, and optionally `reason` and `at`. Other columns of an export are ignored. " +
				"A line with a mistake does not affect the others. You can send the same file again.",
			Scope: httpapi.ScopeSend, Params: []httpapi.Param{client},
			Body:    &httpapi.Body{Media: batchMedia[0], Type: suppressionLine{}, Example: `{"recipient":"+491701234567","reason":"unsubscribed in the shop"}` + "\n"},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The lines are imported.", Type: importResult{}}},
			Codes:   append(slices.Clone(codes), "unsupported_media_type", "charset_not_supported", "encoding_not_supported", "csv_invalid"),
			Handler: in.importSuppressions,
		},
		{
			Method: http.MethodGet, Path: "/v1/suppressions/export", Name: "exportSuppressions", Group: "Suppressions",
			Summary: "Read a whole suppression list as a file, with the recipients.",
			Doc:     "The latest entries come first. If the list cannot be read to its end, the connection is closed without the end of the body.",
			Scope:   httpapi.ScopeRead,
			Params:  []httpapi.Param{client, {In: "query", Name: "format", Doc: "`ndjson` (the default) or `csv`.", Example: "csv"}},
			Answers: []httpapi.Answer{{Status: 200, Doc: "A line for each entry.", Media: batchMedia[0], Type: suppression{}}},
			Codes:   codes,
			Handler: in.exportSuppressions,
		},
	}
}

// importSuppressions serves POST /v1/suppressions/import.
func (in *Intake) importSuppressions(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused == nil {
		refused = httpapi.CheckMedia(r.Header, append([]string{csvMedia}, batchMedia...)...)
	}
	var client string
	if refused == nil {
		client, refused = in.suppressionsOf(key, r.URL.Query().Get("client"))
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	c := http.NewResponseController(w)
	body := &batchBody{Reader: r.Body, control: c, end: time.Now().Add(maxBatch), stop: in.stopped}
	var lines suppressionReader = &jsonLines{bufio.NewReaderSize(body, importLine), 0}
	if strings.HasPrefix(r.Header.Get("Content-Type"), csvMedia) {
		rows, err := newCSVLines(body)
		if err != nil {
			httpapi.Refuse("csv_invalid").Write(w)
			return
		}
		lines = rows
	}
	done, refused := in.importLines(r.Context(), lines, client, key.Name)
	if c.SetWriteDeadline(time.Now().Add(batchIdle)); refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, done)
}

func (in *Intake) importLines(ctx context.Context, lines suppressionReader, client, by string) (importResult, refusal) {
	done := importResult{Errors: []importError{}}
	var group []message.SuppressionOrder
	store := func() error {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		changes, err := in.o.Suppressions.Add(ctx, client, group)
		for _, one := range changes {
			if one.Stored && !one.Before {
				done.Added++
			} else {
				done.Unchanged++
			}
		}
		group = group[:0]
		return err
	}
	for {
		line, number, err := lines.next()
		last := errors.Is(err, io.EOF)
		var code string
		switch {
		case last:
		case errors.Is(err, errLine):
			code = "json_invalid"
		case err != nil:
			if refused := in.unread(err); refused != nil {
				return done, refused
			}
			return done, refuse("csv_invalid")
		default:
			var o message.SuppressionOrder
			if o, code = orderOf(line); code == "" {
				o.By = by
				group = append(group, o)
			}
		}
		if code != "" {
			if done.Refused++; len(done.Errors) < importErrors {
				done.Errors = append(done.Errors, importError{number, code})
			}
		}
		if len(group) == importGroup || last && len(group) > 0 {
			if err := store(); err != nil {
				in.o.Log.Error("cannot import into a suppression list", "client", client, "err", err)
				return done, refuse("store_unavailable")
			}
		}
		if last {
			return done, nil
		}
	}
}

// orderOf returns the order of a line, or the code of its mistake.
func orderOf(line suppressionLine) (o message.SuppressionOrder, code string) {
	o = message.SuppressionOrder{Source: message.SuppressedByImport, Reason: line.Reason}
	var ok bool
	if o.Recipient, ok = message.Recipient(line.Recipient); !ok {
		return o, "person_invalid"
	}
	if line.Reason != "" && !isLabel(line.Reason, maxReason) {
		return o, "reason_missing"
	}
	if line.At != "" {
		var err error
		if o.At, err = time.Parse(time.RFC3339, line.At); err != nil || o.At.Before(earliestImport) || o.At.After(time.Now().Add(24*time.Hour)) {
			return o, "time_invalid"
		}
	}
	return o, ""
}

// earliestImport is before WhatsApp had an API.
var earliestImport = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)

// suppressionReader reads the lines of a file. It returns io.EOF after the last one, and errLine for a line that cannot be read.
type suppressionReader interface {
	next() (line suppressionLine, number int, err error)
}

var errLine = errors.New("the line cannot be read")

// jsonLines are lines of JSON.
type jsonLines struct {
	*bufio.Reader
	number int
}

func (l *jsonLines) next() (line suppressionLine, number int, err error) {
	for {
		text, err := l.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.ReadSlice('\n')
		}
		l.number++
		text = bytes.TrimSpace(text)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return line, l.number, err
		case long:
			return line, l.number, errLine
		case len(text) > 0:
			if json.Unmarshal(text, &line) != nil {
				return line, l.number, errLine
			}
			return line, l.number, nil
		case err != nil:
			return line, l.number, io.EOF
		}
	}
}

// csvLines are the rows of a CSV.
type csvLines struct {
	*csv.Reader
	columns []string
}

// newCSVLines reads the first row, with the names of the columns.
func newCSVLines(r io.Reader) (*csvLines, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord, rows.ReuseRecord, rows.TrimLeadingSpace = -1, true, true
	head, err := rows.Read()
	if err != nil {
		return nil, err
	}
	l := &csvLines{rows, slices.Clone(head)}
	l.columns[0] = strings.TrimPrefix(l.columns[0], "\uFEFF")
	if !slices.Contains(l.columns, "recipient") {
		return nil, errors.New("no column is named recipient")
	}
	return l, nil
}

func (l *csvLines) next() (line suppressionLine, number int, err error) {
	row, err := l.Read()
	if len(row) > 0 {
		number, _ = l.FieldPos(0)
	}
	for i, cell := range row {
		if i >= len(l.columns) {
			break
		}
		switch l.columns[i] {
		case "recipient":
			line.Recipient = cell
		case "reason":
			line.Reason = cell
		case "at":
			line.At = cell
		}
	}
	return line, number, err
}

// exportSuppressions serves GET /v1/suppressions/export.
func (in *Intake) exportSuppressions(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead)
	q := r.URL.Query()
	var client string
	if refused == nil {
		client, refused = in.suppressionsOf(key, q.Get("client"))
	}
	format := q.Get("format")
	if q.Has("format") && format != "csv" && format != "ndjson" {
		refused = append(refused, httpapi.Problem("format", "query_invalid"))
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	c := http.NewResponseController(w)
	rows := csv.NewWriter(w)
	for after, first := "", true; first || after != ""; first = false {
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		all, next, err := in.o.Suppressions.Page(ctx, client, after, suppressionsMost, true)
		cancel()
		switch {
		case err != nil && first:
			in.o.Log.Error("cannot read a suppression list", "client", client, "err", err)
			refuse("store_unavailable").Write(w)
			return
		case err != nil:
			in.o.Log.Error("cannot read a suppression list", "client", client, "err", err)
			panic(http.ErrAbortHandler) // the caller must not take a part for the whole
		}
		c.SetWriteDeadline(time.Now().Add(batchIdle))
		if first && format == "csv" {
			w.Header().Set("Content-Type", csvMedia+"; charset=utf-8")
			rows.Write(suppressionColumns)
		} else if first {
			w.Header().Set("Content-Type", batchMedia[0])
		}
		for _, one := range all {
			if format == "csv" {
				rows.Write([]string{one.Recipient, string(one.Source), harmless(one.Reason), one.By, one.Number, one.At.UTC().Format(time.RFC3339)})
				continue
			}
			line, _ := json.Marshal(showSuppression(one)) // cannot fail for texts and a time
			w.Write(append(line, '\n'))
		}
		rows.Flush()
		if after = next; c.Flush() != nil {
			return // the caller left
		}
	}
}

// harmless keeps a spreadsheet from taking a text for a formula.
func harmless(text string) string {
	if text != "" && strings.ContainsRune("=+-@", rune(text[0])) {
		return "'" + text
	}
	return text
}
