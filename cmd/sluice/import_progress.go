package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	// importProgress is the time between two lines about the progress of a long import, where there is no terminal.
	importProgress = 10 * time.Second
	// importRedraw is the time between two states of the progress bar.
	importRedraw = 200 * time.Millisecond
)

// progress shows how far an import is: as a bar in the last line of a terminal, or as a line now and then. Other messages are
// written to it, so that they do not mix with the bar.
type progress struct {
	out   io.Writer
	bar   bool
	every time.Duration // between two lines where there is no bar; 0: there are none
	size  int64         // bytes of the file; 0: it is not known
	read  func() int64  // bytes that were read

	begun     time.Time // when the first row of this run had its result
	beganAt   int64     // how much was read then
	beganRows int
	said      time.Time // when the progress was shown last
	drawn     bool      // there is a bar in the last line
}

// Write writes a message of whole lines, without the bar.
func (p *progress) Write(text []byte) (int, error) {
	p.clear()
	return p.out.Write(text)
}

// clear removes the bar.
func (p *progress) clear() {
	if p.drawn {
		p.drawn = false
		io.WriteString(p.out, "\r\x1b[K")
	}
}

// report shows the progress if it is time to: the line of the row with the latest result, how many rows have each result, and
// the same in words.
func (p *progress) report(now time.Time, line int, counts map[string]int, words string) {
	rows := 0
	for _, n := range counts {
		rows += n
	}
	if p.begun.IsZero() {
		p.begun, p.said, p.beganRows = now, now, rows
		if p.read != nil {
			p.beganAt = p.read()
		}
	}
	every := p.every
	if p.bar {
		every = importRedraw
	}
	if every == 0 || now.Sub(p.said) < every {
		return
	}
	p.said = now
	pace := p.pace(now, rows)
	if !p.bar {
		fmt.Fprintf(p.out, "line %d: %s so far%s\n", line, words, pace)
		return
	}
	text := p.picture() + strings.TrimPrefix(pace, ",") + ", " + words
	if width := columns(p.out); len(text) >= width {
		text = text[:max(width-1, 0)]
	}
	p.drawn = true
	io.WriteString(p.out, "\r"+text+"\x1b[K")
}

// pace says how much of the file is done, how fast, and when it will be done.
func (p *progress) pace(now time.Time, rows int) (text string) {
	elapsed := now.Sub(p.begun)
	if elapsed <= 0 {
		return ""
	}
	if p.size > 0 {
		text = fmt.Sprintf(", %d %%", 100*p.read()/p.size)
	}
	text += fmt.Sprintf(", %.0f rows/s", float64(rows-p.beganRows)/elapsed.Seconds())
	if p.size > 0 && p.read() > p.beganAt {
		left := time.Duration(float64(elapsed) * float64(p.size-p.read()) / float64(p.read()-p.beganAt))
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return text
}

// picture returns the bar itself; empty if the size of the file is not known.
func (p *progress) picture() string {
	if p.size == 0 {
		return ""
	}
	const width = 20
	full := int(min(width*p.read()/p.size, width))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "]"
}

// columns returns the width of a terminal.
func columns(out io.Writer) int {
	if f, is := out.(*os.File); is {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 80
}
