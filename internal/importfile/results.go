package importfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The values of Result.Result.
const (
	Accepted  = "accepted"
	Duplicate = "duplicate" // an earlier request with the same key was accepted
	Refused   = "refused"
)

// Result is what became of a row.
type Result struct {
	Line   int
	Key    string
	ID     string // Sluice's id of the message; empty: it was refused
	Result string // Accepted, Duplicate or Refused
	Code   string // of a problem, for programs
	Text   string // of the mistake, in one line
}

// resultColumns is the first row of a file of results.
var resultColumns = []string{"line", "key", "id", "result", "code", "mistake"}

// Results is a file with the results of the rows, a CSV with one line for each. It is not safe for concurrent use, except Has.
type Results struct {
	file   *os.File // nil: of NewResults
	csv    *csv.Writer
	before lineHashes // of the rows with a result when the file was opened
}

// OpenResults opens a file of results, or creates it. It cuts off a last line that was not written completely. Until Close or the end of
// the process, the file cannot be opened again as results.
func OpenResults(name string) (*Results, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	r := &Results{before: lineHashes{}, file: file, csv: csv.NewWriter(bufio.NewWriterSize(file, readSize))}
	if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another import writes its results to this file. Wait until it ends, or give the results another name")
	} else if err != nil {
		err = fmt.Errorf("cannot be locked against a second import: %w. Choose a file on another file system", err)
	} else {
		err = r.read()
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// NewResults writes results to out, which has none yet. Add and Flush block while out does.
func NewResults(out io.Writer) *Results {
	r := &Results{csv: csv.NewWriter(bufio.NewWriterSize(out, readSize))}
	r.csv.Write(resultColumns) // an error comes again with Flush
	return r
}

// Name returns the name of the file; empty: there is none.
func (r *Results) Name() string {
	if r.file == nil {
		return ""
	}
	return r.file.Name()
}

// read reads the results of earlier runs, and goes to the end of the file.
func (r *Results) read() error {
	size, err := r.whole()
	if err != nil {
		return err
	}
	if size == 0 {
		if err := r.empty(); err != nil {
			return err
		}
		r.csv.Write(resultColumns)
		return r.Flush()
	}
	in := csv.NewReader(bufio.NewReaderSize(io.NewSectionReader(r.file, 0, size), readSize))
	in.ReuseRecord = true
	if names, err := in.Read(); err != nil || !slices.Equal(names, resultColumns) {
		return errors.New("is not a file of results of an import. Give the results another name")
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line := 0
		if err == nil {
			line, err = strconv.Atoi(cells[0])
		}
		if err != nil {
			return fmt.Errorf("cannot be read: %w. Give the results another name: rows that were accepted before are not sent again", err)
		}
		r.before.set(line, cells[1])
	}
	if err := r.file.Truncate(size); err != nil {
		return err
	}
	_, err = r.file.Seek(size, io.SeekStart)
	return err
}

// whole returns the size of the file without an incomplete last line.
func (r *Results) whole() (int64, error) {
	info, err := r.file.Stat()
	if err != nil {
		return 0, err
	}
	part := make([]byte, readSize)
	for end := info.Size(); end > 0; {
		begin := max(end-readSize, 0)
		n, err := r.file.ReadAt(part[:end-begin], begin)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(part[:n], '\n'); i >= 0 {
			return begin + int64(i) + 1, nil
		}
		end = begin
	}
	return 0, nil
}

// empty empties a file without a complete line. It refuses to do so with a file that is not the beginning of results.
func (r *Results) empty() error {
	head := make([]byte, len(strings.Join(resultColumns, ","))+1)
	n, err := r.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !strings.HasPrefix(strings.Join(resultColumns, ","), string(head[:n])) {
		return errors.New("is not a file of results of an import. Give the results another name")
	}
	return r.file.Truncate(0)
}

// Has reports whether the row had a result when the file was opened. A row that has another key since then has none.
func (r *Results) Has(row Row) bool { return r.before.has(row.Line, row.Key) }

// Add adds the result of a row. It can be in memory until Flush or Close. After a crash the rows of lost results are sent again with their
// keys, and are duplicates.
func (r *Results) Add(v Result) error {
	return r.csv.Write([]string{strconv.Itoa(v.Line), oneLine(v.Key), v.ID, v.Result, v.Code, oneLine(v.Text)})
}

// Flush writes the results that are in memory.
func (r *Results) Flush() error {
	r.csv.Flush()
	return r.csv.Error()
}

// Close writes all results, and closes the file.
func (r *Results) Close() error {
	err := r.Flush()
	if r.file != nil {
		err = errors.Join(err, r.file.Close())
	}
	return err
}

// oneLine makes one line of a text, so that each result is one line of the file.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// lineHashes has a hash of the key of each line, so that a file with other rows in its lines is not mistaken for the same. It needs 4 bytes
// for a line.
type lineHashes map[int]*[1 << 12]uint32 // by the line's number divided by the length; 0: the line has no result

func (h lineHashes) set(line int, key string) {
	page := h[line>>12]
	if page == nil {
		page = new([1 << 12]uint32)
		h[line>>12] = page
	}
	page[line&(1<<12-1)] = keyHash(key)
}

func (h lineHashes) has(line int, key string) bool {
	page := h[line>>12]
	return page != nil && page[line&(1<<12-1)] == keyHash(key)
}

// keyHash is never 0.
func keyHash(key string) uint32 {
	sum := sha256.Sum256([]byte(oneLine(key)))
	return max(binary.BigEndian.Uint32(sum[:]), 1)
}
