package importer

import (
	"fmt"
	"time"

	"sluice/internal/importfile"
)

// Progress is how far an import is.
type Progress struct {
	Line int // of the row with the latest result; 0: there is none

	// Rows of this run by their result, and those that had a result before.
	Accepted, Duplicate, Refused, Skipped int

	Unusable int // links to media that Meta cannot use, once a dry run has checked them

	Read, Size    int64         // bytes of the file: those that were read, and all; Size 0: it is not known
	RowsPerSecond float64       // since the first result
	Left          time.Duration // until the end, at the speed until now; 0: it is not known
}

// String returns what became of the rows, in words.
func (p Progress) String() string {
	return fmt.Sprintf("%d accepted, %d accepted before, %d refused", p.Accepted, p.Duplicate, p.Refused)
}

// rows returns how many rows have a result of this run.
func (p Progress) rows() int { return p.Accepted + p.Duplicate + p.Refused }

// pace is where an import was when its first row had a result: what was skipped before says nothing about its speed.
type pace struct {
	begun time.Time // zero: no row has a result
	read  int64
	rows  int
}

// of sets the speed of a progress.
func (a pace) of(p *Progress, now time.Time) {
	elapsed := now.Sub(a.begun)
	if a.begun.IsZero() || elapsed <= 0 {
		return
	}
	p.RowsPerSecond = float64(p.rows()-a.rows) / elapsed.Seconds()
	if p.Size > 0 && p.Read > a.read {
		p.Left = time.Duration(float64(elapsed) * float64(p.Size-p.Read) / float64(p.Read-a.read))
	}
}

// Progress returns how far the import is.
func (im *Import) Progress() Progress {
	im.mu.Lock()
	defer im.mu.Unlock()
	p := im.progress
	p.Read = im.o.File.BytesRead()
	im.pace.of(&p, time.Now())
	return p
}

// count counts the result of a row. The caller holds mu.
func (im *Import) count(line int, result string) {
	p := &im.progress
	p.Line = line
	switch result {
	case importfile.Accepted:
		p.Accepted++
	case importfile.Duplicate:
		p.Duplicate++
	default:
		p.Refused++
	}
	if im.pace.begun.IsZero() {
		im.pace = pace{time.Now(), im.o.File.BytesRead(), p.rows()}
	}
}
