package importfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// lines reads the lines of NDJSON.
type lines struct {
	source
	name string // of the import
	n    int    // of the line that was read last
}

func (f *lines) next() (Row, error) {
	text, err := f.line()
	if err != nil {
		return Row{Line: f.n}, err
	}
	return f.row(text)
}

// line returns the next line that is not empty.
func (f *lines) line() ([]byte, error) {
	for {
		f.n++
		text, err := f.read()
		if text = bytes.TrimSpace(text); err != nil && (err != io.EOF || len(text) == 0) {
			return nil, err
		}
		if len(text) > 0 {
			return text, nil
		}
	}
}

// read returns the next line. It does not keep a line that is too long.
func (f *lines) read() (text []byte, err error) {
	for {
		f.limit.allow()
		part, err := f.text.ReadSlice('\n')
		if len(text) <= maxRow {
			text = append(text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case len(text) > maxRow && (err == nil || err == io.EOF):
			return nil, RowError{errLong}
		case err != nil && err != io.EOF:
			return nil, fmt.Errorf("line %d: %w", f.n, err)
		default:
			return text, err
		}
	}
}

// row returns the row of a line. A line without a key gets one. A line that is not a JSON object stays as it is, and the API refuses it.
func (f *lines) row(text []byte) (Row, error) {
	row := Row{Line: f.n, Body: text}
	if err := f.check(string(text)); err != nil {
		return row, fmt.Errorf("line %d: %w", f.n, err)
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil || members == nil {
		return row, nil
	}
	key, has := members["key"]
	if !has {
		row.Key = contentKey("ndjson", text, f.name)
		row.Body = append(fmt.Appendf(nil, `{"key":%q`, row.Key), text[1:]...)
		if len(members) > 0 {
			row.Body = append(fmt.Appendf(nil, `{"key":%q,`, row.Key), text[1:]...)
		}
		return row, nil
	}
	if string(key) == "null" {
		return row, mistake("key: is null. Remove it, or give it a value")
	}
	json.Unmarshal(key, &row.Key) // the API refuses a key of another type
	return row, nil
}
