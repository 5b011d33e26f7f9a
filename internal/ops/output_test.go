package ops_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/internal/ops"
)

// If the reader of the log stops, Write does not block. When it reads again, the log says how many lines are missing.
func TestOutputOfALogThatIsNotRead(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	o := ops.NewOutput(w)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	const lines = 5000
	for range lines {
		if n, err := o.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	dropped := o.Dropped()
	if dropped < lines-2100 || dropped >= lines {
		t.Errorf("%d lines were dropped of %d", dropped, lines)
	}
	var read bytes.Buffer
	done := make(chan struct{})
	go func() { defer close(done); io.Copy(&read, r) }()
	for range 60 {
		o.Flush() // waits a second at most
	}
	w.Close()
	<-done
	if got := bytes.Count(read.Bytes(), line); int64(got) != lines-dropped {
		t.Errorf("%d lines were written, %d dropped of %d", got, dropped, lines)
	}
	if want := fmt.Sprintf(`"lines":%d}`, dropped); !strings.Contains(read.String(), want) {
		t.Errorf("the log does not say %s", want)
	}
}

func TestOutputFlushedWithoutAReader(t *testing.T) {
	t.Parallel()
	_, w := io.Pipe()
	o := ops.NewOutput(w)
	o.Write([]byte("x\n"))
	o.Flush() // returns although the line is not written
	w.Close()
}
