package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"sluice/internal/importer"
)

const (
	// importProgress is the time between two lines about the progress of a long import, where there is no terminal.
	importProgress = 10 * time.Second
	// importRedraw is the time between two states of the progress bar.
	importRedraw = 200 * time.Millisecond
)

// progress shows how far an import is: as a bar in the last line of a terminal, or as a line now and then. Other messages are
// written to it, so that they do not mix with the bar. It is safe for concurrent use.
type progress struct {
	out io.Writer
	bar bool

	mu    sync.Mutex
	drawn bool // there is a bar in the last line
}

// Write writes a message of whole lines, without the bar.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.out.Write(text)
}

// clear removes the bar. The caller holds mu.
func (p *progress) clear() {
	if p.drawn {
		p.drawn = false
		io.WriteString(p.out, "\r\x1b[K")
	}
}

// follow shows the progress of an import until end is called, which removes the bar.
func (p *progress) follow(now func() importer.Progress) (end func()) {
	every := importProgress
	if p.bar {
		every = importRedraw
	}
	stop := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() {
		for tick := time.NewTicker(every); ; {
			select {
			case <-tick.C:
				p.show(now())
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		following.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clear()
	}
}

// show shows a progress. There is none before the first row has a result.
func (p *progress) show(now importer.Progress) {
	if now.Line == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.bar {
		fmt.Fprintf(p.out, "line %d: %s so far%s\n", now.Line, now, pace(now))
		return
	}
	text := picture(now) + strings.TrimPrefix(pace(now), ",") + ", " + now.String()
	if width := columns(p.out); len(text) >= width {
		text = text[:max(width-1, 0)]
	}
	p.drawn = true
	io.WriteString(p.out, "\r"+text+"\x1b[K")
}

// pace says how much of the file is done, how fast, and when it will be done.
func pace(p importer.Progress) (text string) {
	if p.Size > 0 {
		text = fmt.Sprintf(", %d %%", 100*p.Read/p.Size)
	}
	text += fmt.Sprintf(", %.0f rows/s", p.RowsPerSecond)
	if p.Left > 0 {
		text += fmt.Sprintf(", %s left", p.Left.Round(time.Second))
	}
	return text
}

// picture returns the bar itself; empty if the size of the file is not known.
func picture(p importer.Progress) string {
	if p.Size == 0 {
		return ""
	}
	const width = 20
	full := int(min(width*p.Read/p.Size, width))
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
