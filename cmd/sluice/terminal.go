package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminal reports whether a file is a terminal.
func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// aroundRows are the lines of top that show no number: the totals, an empty line, the headings, the line
// for numbers that are not shown, an empty line, the events, and the one in which the cursor stands.
const aroundRows = 7

// rows returns how many numbers top shows on out: at most limit, where it is not 0, and at most as many as
// fit on the terminal.
func rows(out io.Writer, limit int) int {
	f, is := out.(*os.File)
	if !is {
		return limit
	}
	_, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return limit
	}
	return fit(limit, height)
}

func fit(limit, height int) int {
	n := max(height-aroundRows, 1)
	if limit == 0 {
		return n
	}
	return min(limit, n)
}
