package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What passes is a line for each package; what fails is shown; while nothing ends there is a line every 15 s.
func TestShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		events := make(chan event)
		go func() {
			read(strings.NewReader(`{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"a","Test":"TestA"}
`), events)
			time.Sleep(20 * time.Second)
			read(strings.NewReader(`{"Action":"pass","Package":"a","Elapsed":20}
{"Action":"start","Package":"b"}
{"Action":"output","Package":"b","Test":"TestB","Output":"b is broken\n"}
{"Action":"fail","Package":"b","Test":"TestB"}
{"Action":"fail","Package":"b","Elapsed":1.2}
{"Action":"skip","Package":"c"}
{"Action":"start","Package":"d"}
{"Action":"output","Package":"d","Test":"TestD","Output":"panic: no reason\n"}
{"Action":"fail","Package":"d","Elapsed":2}
not JSON
`), events)
			close(events)
		}()
		show(&out, events)
		want := `Compiling with the race detector. The first time this takes some minutes.
    15 s: 0 packages tested; testing a
ok   a 20 s
b is broken
FAIL b 1 s
panic: no reason
FAIL d 2 s
not JSON
3 packages tested in 20 s
`
		if out.String() != want {
			t.Errorf("shown\n%s\nwant\n%s", &out, want)
		}
	})
}
