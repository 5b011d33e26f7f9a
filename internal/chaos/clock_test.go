package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"sluice/internal/bench"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

// clockPart serves the time.
const clockPart = "clock"

func init() {
	bench.Parts[clockPart] = func(ctx context.Context, addr string, _ []byte) error {
		return rig.Listen(ctx, addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, time.Now().UnixMilli())
		}))
	}
}

func TestSkew(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g, err := rig.New(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	addr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	p, err := g.Served(t.Context(), clockPart, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	ahead := func() time.Duration {
		b, err := g.Get(t.Context(), "http://"+p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		ms, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Until(time.UnixMilli(ms)).Round(10 * time.Second)
	}
	for _, d := range []time.Duration{90 * time.Second, -90 * time.Second, 0} {
		if err := rig.SetClock(p.PID(), d); errors.Is(err, rig.ErrNoClock) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		if got := ahead(); got != d {
			t.Errorf("its clock is %s ahead, want %s", got, d)
		}
	}
}
