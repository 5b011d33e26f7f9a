// Package importfile reads files of messages, CSV and NDJSON, row by row, as bodies of POST /v1/messages, and keeps the file with
// the results of the rows. Its memory does not grow with the text of a file.
package importfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
)

const (
	// maxRow is how many bytes a row may have: more than the API accepts. An open quote would make a row of the rest of the file.
	maxRow = 1 << 20
	// readSize is the size of a buffer.
	readSize = 64 << 10
)

// The values of Options.Format.
const (
	CSV    = "csv"
	NDJSON = "ndjson"
)

// Options says how to read a file. The zero value reads a file whose columns have the names of Columns, or NDJSON.
type Options struct {
	Format    string // CSV or NDJSON; empty: NDJSON if the first character is {, otherwise CSV
	Encoding  string // the name of an encoding, for example windows-1252; empty: UTF-8. A byte order mark wins
	Delimiter string // between the cells: one character or tab; empty: the most frequent of , ; tab and | in the first row
	Name      string // a part of the keys of rows without one
	From      string // the sender of the rows of a CSV file without one

	// Mapped says that the columns of a CSV file have names of the user's. Then Values and Templates alone say what is read.
	Mapped    bool
	Values    []Value    // for the columns of Columns that a row leaves empty
	Templates []Template // one of them is the template of each row that has no content, by the shares
}

// Row is a row of a file, with one message.
type Row struct {
	Line int    // of the file, from 1; where the row begins
	Key  string // the idempotency key. Empty: the row has a mistake
	Body []byte // of POST /v1/messages, in one line
}

// RowError is a mistake in one row. The rows after it can be read.
type RowError struct{ error }

// Unwrap returns the mistake.
func (e RowError) Unwrap() error { return e.error }

func mistake(format string, values ...any) error { return RowError{fmt.Errorf(format, values...)} }

// File is a file of messages.
type File struct {
	bytes *counter
	rows  interface{ next() (Row, error) }
}

// source is the text of a file.
type source struct {
	text   *bufio.Reader
	limit  *limited
	check  func(string) error // reports whether some of it was valid in its encoding
	format string             // CSV or NDJSON
}

// open reads the beginning of a file.
func open(in io.Reader, o Options) (s source, err error) {
	text, check, err := decode(in, o.Encoding)
	if err != nil {
		return s, err
	}
	limit := &limited{in: text}
	s = source{bufio.NewReaderSize(limit, readSize), limit, check, o.Format}
	limit.allow()
	switch {
	case s.format != "":
	case first(s.text) == '{':
		s.format = NDJSON
	default:
		s.format = CSV
	}
	return s, nil
}

// Open reads the beginning of a file, which may be compressed with gzip.
func Open(in io.Reader, o Options) (*File, error) {
	f := &File{bytes: &counter{in: in}}
	s, err := open(f.bytes, o)
	if err != nil {
		return nil, err
	}
	if s.format == CSV {
		f.rows, err = newCSV(s, o)
		return f, err
	}
	if o.Mapped || len(o.Values) > 0 || len(o.Templates) > 0 {
		return nil, errors.New("the file is NDJSON: each line is a complete message, and columns cannot be mapped. Leave out --to and the flags about columns")
	}
	f.rows = &lines{source: s, name: o.Name}
	return f, nil
}

// Head is the beginning of a file.
type Head struct {
	Format  string     // CSV or NDJSON
	Columns []string   // the cells of the first row of a CSV file
	Rows    [][]string // the cells of the next rows. NDJSON: each row has one, its line
}

// ReadHead reads up to some rows of a file, without a look at what its columns mean. Of o it uses Format, Encoding and Delimiter.
func ReadHead(in io.Reader, o Options, rows int) (h Head, err error) {
	s, err := open(in, o)
	if err != nil {
		return h, err
	}
	h.Format = s.format
	ndjson := &lines{source: s}
	next := func() ([]string, error) {
		line, err := ndjson.line()
		return []string{string(line)}, err
	}
	if h.Format == CSV {
		f, names, err := openCSV(s, o)
		if err != nil {
			return h, err
		}
		h.Columns, next = slices.Clone(names), f.read
	}
	for len(h.Rows) < rows {
		cells, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, csv.ErrFieldCount) {
			return h, err
		}
		h.Rows = append(h.Rows, slices.Clone(cells))
	}
	return h, nil
}

// Next returns the next row, io.EOF after the last one, or a RowError, with the line of the row. It blocks while the file is a pipe
// without data.
func (f *File) Next() (Row, error) { return f.rows.next() }

// BytesRead returns how many bytes of the file were read, as it is stored. It is safe for concurrent use.
func (f *File) BytesRead() int64 { return f.bytes.n.Load() }

// counter counts the bytes that are read.
type counter struct {
	in io.Reader
	n  atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// limited limits the bytes that are read before the next call of allow.
type limited struct {
	in   io.Reader
	left int
}

var errLong = fmt.Errorf("the row is longer than %d bytes", maxRow)

func (l *limited) allow() { l.left = maxRow }

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLong
	}
	n, err := l.in.Read(p)
	l.left -= n
	return n, err
}

// decode returns the text of a file in UTF-8, and a function that reports whether some of it was valid in its encoding.
func decode(in io.Reader, name string) (text *bufio.Reader, valid func(string) error, err error) {
	text = bufio.NewReaderSize(in, readSize)
	if start, _ := text.Peek(2); string(start) == "\x1f\x8b" {
		zip, err := gzip.NewReader(text)
		if err != nil {
			return nil, nil, damaged(err)
		}
		text = bufio.NewReaderSize(unzipped{zip}, readSize)
	}
	var from encoding.Encoding
	start, _ := text.Peek(3)
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		text.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		from, name = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "UTF-16"
	case name != "":
		if from, err = htmlindex.Get(name); err != nil {
			return nil, nil, fmt.Errorf("encoding: %q is not the name of an encoding. Use for example utf-8, windows-1252 or utf-16le", name)
		}
		if from == unicode.UTF8 { // its decoder would replace what is not valid
			from = nil
		}
	}
	if from == nil {
		return text, validUTF8, nil
	}
	return bufio.NewReaderSize(from.NewDecoder().Reader(text), readSize), func(text string) error {
		if strings.ContainsRune(text, utf8.RuneError) {
			return fmt.Errorf("the text is not in the encoding %s. Set --encoding to the encoding of the file", name)
		}
		return nil
	}, nil
}

func validUTF8(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("the text is not UTF-8. Name the encoding of the file, for example --encoding windows-1252, or save the file as UTF-8")
	}
	return nil
}

// unzipped explains the errors of gzip.
type unzipped struct{ in io.Reader }

func (u unzipped) Read(p []byte) (int, error) {
	n, err := u.in.Read(p)
	if err != nil && err != io.EOF {
		err = damaged(err)
	}
	return n, err
}

func damaged(err error) error {
	return fmt.Errorf("the file is compressed with gzip, and is damaged or not complete: %w. Copy the file again", err)
}

// first returns the first character that is no white space, as long as there is not too much of it.
func first(in *bufio.Reader) byte {
	for n := 1; n <= readSize; n++ {
		start, err := in.Peek(n)
		if err != nil {
			break
		}
		if c := start[n-1]; !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c
		}
	}
	return 0
}
