package bench

import (
	"encoding/json"
	"strings"
	"testing"
)

var sample = Row{
	Bench: "pace", Case: "at the limit", Durability: Relaxed, Rate: 1000, Workers: 10, Numbers: 1, Backlog: 20_000,
	Utilisation: new(0.991234567), WindowsOver: new(0.0), SimWindow: new(1001.0), PerSecond: new(12345.678),
}

func TestRowAsJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(sample)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"bench":"pace","case":"at the limit","durability":"relaxed","rate":1000,"workers":10,"numbers":1,"backlog":20000,` +
		`"utilisation":0.9912,"windows_over":0,"simulator_max_window":1001,"messages_per_second":12350}`
	if string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
	if *sample.Utilisation != 0.991234567 {
		t.Error("writing a row changed it")
	}
}

// TestNamesOfTheFigures: scripts of users read these names.
func TestNamesOfTheFigures(t *testing.T) {
	t.Parallel()
	b, _ := json.Marshal(Row{
		Utilisation: new(1.0), WindowsOver: new(1.0), SimWindow: new(1.0), Throttled: new(1.0),
		UrgentP50: new(1.0), UrgentP99: new(1.0), Dequeues: new(1.0), Trips: new(1.0),
		PerSecond: new(1.0), Baseline: new(1.0), Ratio: new(1.0),
	})
	for _, name := range strings.Fields(`bench utilisation windows_over simulator_max_window throttled urgent_p50_ms urgent_p99_ms
		dequeues_per_send round_trips_per_message messages_per_second baseline_per_second ratio`) {
		if !strings.Contains(string(b), `"`+name+`":`) {
			t.Errorf("no %s in %s", name, b)
		}
	}
}

func TestRowForPeople(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	sample.Print(&b)
	const want = "pace: at the limit (10 workers, 1 number, at 1,000/s, backlog 20,000, relaxed)\n" +
		"    utilisation                     0.991    windows_over                        0    simulator_max_window            1,001\n" +
		"    messages_per_second            12,346\n"
	if b.String() != want {
		t.Errorf("%q\nwant\n%q", b.String(), want)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]float64{
		"0": 0, "0.991": 0.9912, "12.3": 12.34, "123": 123.4, "1,234": 1234.4, "1,234,568": 1234567.8, "-12,345": -12345, "7": 7,
	} {
		if got := show(f); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	missed := Row{Bench: "pace", Case: "at the limit", Rate: 80, Workers: 10, Numbers: 1, Trips: new(7.5), RedisCPU: new(50.0), GoCPU: new(200.0)}
	baseline := Row{Bench: "pace", Case: "asynq: the rate limit recipe", Rate: 80, Throttled: new(9.0), RedisCPU: new(1.0), GoCPU: new(1.0)}
	var b strings.Builder
	Markdown(&b, []Row{sample, missed, baseline})
	text := b.String()
	for _, want := range []string{
		"| share of the rate limit used | >= 99 % | 0.991 | `sluice bench pace`: 10 workers, 1 number, at 1,000/s, backlog 20,000, relaxed | reached |\n",
		"| round trips to Redis per message, at 80/s | <= 4 | 7.500 | `sluice bench pace`: 10 workers, 1 number, at 80/s | **missed** |\n",
		"| pace | asynq: the rate limit recipe | at 80/s | throttled 9, redis_cpu_us 1, go_cpu_us 1 |\n",
		"| worker, paced | 10 workers, 1 number, at 80/s | 20,000/s (50.0 us) | 5,000/s (200 us) |\n",
	} {
		if want = strings.ReplaceAll(want, "50.0 us", "50 us"); !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	for _, not := range []string{"| throttled by the simulator | 0 | 9", "round trips to Redis per message, at 1,000/s"} {
		if strings.Contains(text, not) {
			t.Errorf("there is %q in\n%s", not, text)
		}
	}
}
