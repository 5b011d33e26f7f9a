// Progress runs a go test -json, and shows each package when its tests end, and a line every 15 s while none ends. It
// shows the output of what failed. Its exit code is that of go test.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// every is the longest time without a line.
const every = 15 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		if _, failed := errors.AsType[*exec.ExitError](err); !failed {
			fmt.Fprintln(os.Stderr, "progress:", err)
		}
		os.Exit(1)
	}
}

func run(command []string) error {
	if len(command) == 0 {
		return errors.New("no command given: progress go test -json PACKAGES")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	events := make(chan event)
	go func() {
		read(out, events)
		close(events)
	}()
	show(os.Stdout, events)
	return cmd.Wait()
}

// event is a line of go test -json. What is no such line has only Output.
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64 // seconds
}

// read sends the lines of go test on.
func read(in io.Reader, events chan<- event) {
	lines := bufio.NewReader(in)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			var e event
			if json.Unmarshal([]byte(text), &e) != nil {
				e = event{Action: "build-output", Output: text}
			}
			events <- e
		}
		if err != nil {
			return
		}
	}
}

// show prints the progress until events end.
func show(out io.Writer, events <-chan event) {
	begin, done := time.Now(), 0
	fmt.Fprintln(out, "Compiling with the race detector. The first time this takes some minutes.")
	running := map[string]bool{}
	printed := map[[2]string]*strings.Builder{} // by package and test
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			what := "compiling"
			if len(running) > 0 {
				what = "testing " + strings.Join(slices.Sorted(maps.Keys(running)), ", ")
			}
			fmt.Fprintf(out, "  %4.0f s: %d packages tested; %s\n", time.Since(begin).Seconds(), done, what)
		case e, more := <-events:
			if !more {
				fmt.Fprintf(out, "%d packages tested in %.0f s\n", done, time.Since(begin).Seconds())
				return
			}
			key := [2]string{e.Package, e.Test}
			switch e.Action {
			case "start":
				running[e.Package] = true
			case "output":
				if printed[key] == nil {
					printed[key] = new(strings.Builder)
				}
				printed[key].WriteString(e.Output)
			case "build-output":
				fmt.Fprint(out, e.Output)
			case "pass", "skip", "fail":
				if text := printed[key]; text != nil && e.Action == "fail" {
					fmt.Fprint(out, text)
				}
				delete(printed, key)
				if e.Test != "" {
					continue
				}
				delete(running, e.Package)
				for at, text := range printed { // of tests that a crash or the time limit of go test ended
					if at[0] == e.Package {
						fmt.Fprint(out, text)
						delete(printed, at)
					}
				}
				if e.Action == "skip" { // it has no tests
					continue
				}
				done++
				word := map[string]string{"pass": "ok", "fail": "FAIL"}[e.Action]
				fmt.Fprintf(out, "%-4s %s %.0f s\n", word, e.Package, e.Elapsed)
				tick.Reset(every)
			}
		}
	}
}
