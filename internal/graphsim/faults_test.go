package graphsim_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/graphsim"
)

// outcome returns in one word what a client sees of a message: "200", a Graph error code,
// "html", or how the connection ended.
func (b *bundle) outcome(to string) string {
	b.t.Helper()
	return b.outcomeUntil(b.t.Context(), to)
}

// givenUp is outcome with a client that leaves as soon as given returns true. Then it returns "hang". The call must not
// be answered before.
func (b *bundle) givenUp(to string, given func() bool) string {
	b.t.Helper()
	ctx, leave := context.WithCancel(b.t.Context())
	defer leave()
	go func() {
		for !given() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		leave()
	}()
	return b.outcomeUntil(ctx, to)
}

// hung reports whether one more call is not answered, by the metrics of the simulator.
func (b *bundle) hung() func() bool {
	before := b.Stats().Requests["hang"]
	return func() bool { return b.Stats().Requests["hang"] > before }
}

func (b *bundle) outcomeUntil(ctx context.Context, to string) string {
	b.t.Helper()
	a, err := b.call(ctx, "POST", "/v25.0/"+number+"/messages", `{"messaging_product":"whatsapp",`+text(to, "")+`}`)
	switch {
	case errors.Is(err, context.Canceled):
		return "hang"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF):
		return "closed"
	case err != nil:
		return err.Error()
	case a.Status == 502 && strings.Contains(a.Raw, "<html>"):
		return "html"
	case a.Status == 200 && strings.Contains(a.Raw, "<html>"):
		return "html 200"
	case a.Status == 200 && !strings.Contains(a.Raw, "wamid."):
		return a.Raw
	case a.Error.Code != 0:
		return strconv.Itoa(a.Error.Code)
	}
	return strconv.Itoa(a.Status)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		faults graphsim.Faults
		seen   []string // every one of them, and no other
		taken  bool
	}{
		{"none", graphsim.Faults{}, []string{"200"}, true},
		{"throttle", graphsim.Faults{Throttle: 1}, []string{"130429"}, false},
		{"error before", graphsim.Faults{ErrorBefore: 1}, []string{"131000", "131016", "html"}, false},
		{"error after", graphsim.Faults{ErrorAfter: 1}, []string{"131000"}, true},
		{"lost", graphsim.Faults{Lost: 1}, []string{"closed"}, true},
		{"reset", graphsim.Faults{Reset: 1}, []string{"reset"}, false},
		{"portal", graphsim.Faults{Portal: 1}, []string{"html 200"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, graphsim.Options{Seed: 1, Faults: c.faults})
			const calls = 20
			var seen []string
			for range calls {
				seen = append(seen, b.outcome("16505551230"))
			}
			slices.Sort(seen)
			if seen = slices.Compact(seen); !slices.Equal(seen, c.seen) {
				t.Errorf("saw %q, want %q", seen, c.seen)
			}
			want := 0
			if c.taken {
				want = calls
			}
			if got := len(b.Accepted()); got != want {
				t.Errorf("%d taken, want %d", got, want)
			}
		})
	}
}

func TestHangIsTakenOrNot(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Seed: 1, Faults: graphsim.Faults{Hang: 1}})
	const calls = 12
	var left []time.Time // of the clients whose messages were taken
	for range calls {
		var at time.Time
		taken, hung := len(b.Accepted()), b.hung()
		if got := b.givenUp("16505551230", func() bool { at = time.Now(); return hung() }); got != "hang" {
			t.Fatalf("saw %q", got)
		}
		if len(b.Accepted()) > taken {
			left = append(left, at)
		}
	}
	b.server.Close() // returns when no call is open any more
	all := b.Accepted()
	if len(all) == 0 || len(all) == calls {
		t.Errorf("%d of %d taken, want some", len(all), calls)
	}
	for i, a := range all {
		if a.End.Before(left[i]) {
			t.Errorf("call %d ended %v before its client left", i, left[i].Sub(a.End))
		}
	}
}

func TestEndingsOfRecipients(t *testing.T) {
	t.Parallel()
	hooks := newReceiver(t)
	b := setup(t, graphsim.Options{Webhook: graphsim.Webhook{URL: hooks.URL, Secret: secret, Senders: 1}})
	b.run()
	for _, c := range []struct {
		digits, outcome string
		taken           bool
		failed          int // code of the failed webhook
		reports         int
	}{
		{"130472", "200", true, 130472, 1},
		{"131026", "200", true, 131026, 1},
		{"131047", "200", true, 131047, 1},
		{"131049", "200", true, 131049, 1},
		{"131053", "200", true, 131053, 1},
		{"000190", "190", false, 0, 0},
		{"131009", "131009", false, 0, 0},
		{"131042", "131042", false, 0, 0},
		{"131056", "131056", false, 0, 0},
		{"132001", "132001", false, 0, 0},
		{"132015", "132015", false, 0, 0},
		{"900001", "131000", false, 0, 0},
		{"900002", "html", false, 0, 0},
		{"900003", "131000", true, 0, 2},
		{"900004", "closed", true, 0, 2},
		{"900005", "reset", false, 0, 0},
		{"900006", "hang", false, 0, 0},
		{"900007", "hang", true, 0, 2},
		{"900008", "200", true, 0, 0},
		{"900009", "html 200", false, 0, 0},
		{"900010", "204", false, 0, 0},
		{"900011", `{"success":true}` + "\n", true, 0, 2},
		{"900012", `{"messaging_product":"whatsapp","contacts":[{"inp`, true, 0, 2},
		{"900013", "987654", false, 0, 0},
		{"900014", "200", true, 987654, 1},
		{"900015", "200", true, 0, 0},
		{"900000", "200", true, 0, 2},
	} {
		before := len(b.Accepted())
		to, outcome := "99999"+c.digits, b.outcome
		if c.outcome == "hang" {
			outcome = func(to string) string { return b.givenUp(to, b.hung()) }
		}
		if got := outcome(to); got != c.outcome {
			t.Errorf("%s: saw %q, want %q", c.digits, got, c.outcome)
		}
		if taken := len(b.Accepted()) > before; taken != c.taken {
			t.Errorf("%s: taken %v", c.digits, taken)
		}
		b.drained()
		got := hooks.received()
		if len(got) != c.reports {
			t.Errorf("%s: %d reports, want %d", c.digits, len(got), c.reports)
		}
		if c.failed != 0 && (got[0].Status != "failed" || got[0].Errors[0].Code != c.failed || got[0].Errors[0].Data.Details == "") {
			t.Errorf("%s: reported %+v", c.digits, got[0])
		}
	}
}

// Numbers that are in use, or that a script counts up, are not magic.
func TestOtherNumbersAreNotMagic(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	for _, recipient := range []string{"1650131026", "4915550900001", "15559131009", "9999900001", "999990900001", "99999131000"} {
		if got := b.outcome(recipient); got != "200" {
			t.Errorf("%s: saw %q", recipient, got)
		}
	}
}

func TestSeedDecides(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, f graphsim.Faults) []string {
		b := setup(t, graphsim.Options{Seed: seed, Faults: f})
		var seen []string
		for range 60 {
			seen = append(seen, b.outcome("16505551230"))
		}
		return seen
	}
	f := graphsim.Faults{Throttle: .1, ErrorBefore: .2, ErrorAfter: .2, Lost: .1, Reset: .1}
	one, again, two := run(1, f), run(1, f), run(2, f)
	if !slices.Equal(one, again) {
		t.Errorf("the same seed gave\n%q and\n%q", one, again)
	}
	if slices.Equal(one, two) {
		t.Errorf("another seed gave the same: %q", one)
	}
	// One more fault changes only messages without a fault.
	f.Latency, f.Reset = graphsim.Span{Min: 1, Max: 2}, .2
	for i, o := range run(1, f) {
		if o != one[i] && (one[i] != "200" || o != "reset") {
			t.Errorf("call %d: %q became %q", i, one[i], o)
		}
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	const least = 30 * time.Millisecond
	b := setup(t, graphsim.Options{Faults: graphsim.Faults{Latency: graphsim.Span{Min: least}}})
	start := time.Now()
	b.send(text("16505551230", ""))
	if took := time.Since(start); took < least {
		t.Errorf("answered in %v", took)
	}

	b.SetFaults(graphsim.Faults{Latency: graphsim.Span{Min: time.Hour}})
	if got := b.givenUp("16505551230", func() bool { return b.Stats().Accepted == 2 }); got != "hang" {
		t.Errorf("saw %q", got)
	}
	b.server.Close()
	if s := b.Stats(); s.Accepted != 2 || s.Requests["left"] != 1 {
		t.Errorf("a client that stops waiting has not sent it: %+v", s)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	const rate, calls = 5, 40
	b := setup(t, graphsim.Options{Rate: rate})
	refused := 0
	for range calls {
		a := b.send(text("16505551230", ""))
		if a.Status == 200 {
			continue
		}
		refused++
		if a.Status != 400 || a.Error.Code != 130429 {
			t.Errorf("answered %d %s", a.Status, a.Raw)
		}
	}
	all := b.Accepted()
	if refused == 0 || len(all)+refused != calls {
		t.Errorf("%d refused, %d taken", refused, len(all))
	}
	for i := rate; i < len(all); i++ {
		if gap := all[i].Start.Sub(all[i-rate].Start); gap < time.Second {
			t.Errorf("%d taken within %v", rate+1, gap)
		}
	}
	if w := b.Stats().Windows[number]; w <= rate || w > calls {
		t.Errorf("largest window %d: refused arrivals belong to it", w)
	}
	other := strings.Replace(number, "1", "2", 1)
	if a := b.do("POST", "/v25.0/"+other+"/messages", `{"messaging_product":"whatsapp",`+text("16505551230", "")+`}`); a.Status != 200 {
		t.Errorf("another number: %d %s", a.Status, a.Raw)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Outage: true})
	if a := b.send(text("16505551230", "")); a.Status != 503 {
		t.Errorf("message: %d", a.Status)
	}
	if a := b.do("GET", "/v25.0/"+number, ""); a.Status != 503 {
		t.Errorf("phone info: %d", a.Status)
	}
	if s := b.Stats(); s.Accepted != 0 || !s.Outage || s.Requests["outage"] != 2 {
		t.Errorf("%+v", s)
	}
	if a := b.do("PUT", "/_sim/outage", `{"outage":false}`); a.Status != 200 {
		t.Errorf("control: %d %s", a.Status, a.Raw)
	}
	if a := b.send(text("16505551230", "")); a.Status != 200 {
		t.Errorf("afterwards: %d", a.Status)
	}
}
