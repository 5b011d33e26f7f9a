package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Row is one result. A figure that does not apply is nil, and absent in JSON.
type Row struct {
	Bench      string `json:"bench"`
	Case       string `json:"case"` // the part of the run; "asynq: ..." and "net/http: ..." are baselines
	Durability string `json:"durability,omitempty"`
	Rate       int    `json:"rate,omitempty"` // messages per second of each number
	Workers    int    `json:"workers,omitempty"`
	Numbers    int    `json:"numbers,omitempty"`
	Backlog    int    `json:"backlog,omitempty"`

	Utilisation *float64 `json:"utilisation,omitempty"`          // share of the rate limit; 1: all of it
	WindowsOver *float64 `json:"windows_over,omitempty"`         // one-second windows above the rate limit, where requests are written
	OurWindow   *float64 `json:"max_window,omitempty"`           // the most requests that were written in one second
	SimWindow   *float64 `json:"simulator_max_window,omitempty"` // the most that arrived at the simulator in one second
	FarWindow   *float64 `json:"far_side_max_window,omitempty"`  // the most that arrived at the plain far side in one second
	Throttled   *float64 `json:"throttled,omitempty"`            // answers 130429

	UrgentP50 *float64 `json:"urgent_p50_ms,omitempty"` // from the 202 to the arrival of the POST
	UrgentP99 *float64 `json:"urgent_p99_ms,omitempty"`

	Dequeues *float64 `json:"dequeues_per_send,omitempty"`
	Trips    *float64 `json:"round_trips_per_message,omitempty"` // to Redis, from the acceptance to the end of the task

	PerSecond *float64 `json:"messages_per_second,omitempty"`
	Baseline  *float64 `json:"baseline_per_second,omitempty"`
	Ratio     *float64 `json:"ratio,omitempty"` // messages_per_second / baseline_per_second

	P50 *float64 `json:"p50_ms,omitempty"` // of an HTTP answer
	P99 *float64 `json:"p99_ms,omitempty"`

	P99Ratio *float64 `json:"p99_ratio,omitempty"` // p99_ms, to that while the other relay target takes its events

	Commands         *float64 `json:"redis_commands_per_message,omitempty"` // also those inside scripts
	RedisCPU         *float64 `json:"redis_cpu_us,omitempty"`               // for a message
	BaselineCPU      *float64 `json:"baseline_redis_cpu_us,omitempty"`
	CPURatio         *float64 `json:"redis_cpu_ratio,omitempty"`          // redis_cpu_us / baseline_redis_cpu_us, the median of pairs
	Instructions     *float64 `json:"redis_instructions,omitempty"`       // of redis-server for a message, without the kernel
	CostRatio        *float64 `json:"cpu_ratio,omitempty"`                // redis_cpu_us + go_cpu_us, to that of the baseline
	InstructionRatio *float64 `json:"redis_instructions_ratio,omitempty"` // to asynq's
	PerExec          *float64 `json:"messages_per_exec,omitempty"`        // messages for each transaction
	Scripts          *float64 `json:"scripts_per_message,omitempty"`      // calls of scripts
	GoCPU            *float64 `json:"go_cpu_us,omitempty"`                // for a message, of the measured programs, not of the simulator
	Resident         *float64 `json:"resident_mb,omitempty"`              // the largest program measured

	CommandRate *float64 `json:"commands_per_second,omitempty"` // at Redis for each worker, also those inside scripts
	TripRate    *float64 `json:"round_trips_per_second,omitempty"`

	BytesWaiting *float64 `json:"bytes_per_waiting_message,omitempty"` // beyond its payload
	BytesFinal   *float64 `json:"bytes_per_final_record,omitempty"`
}

// MarshalJSON writes figures with their significant digits.
func (r Row) MarshalJSON() ([]byte, error) {
	type plain Row
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if p, ok := v.Field(i).Interface().(*float64); ok && p != nil {
			v.Field(i).Set(reflect.ValueOf(new(rounded(*p))))
		}
	}
	return json.Marshal(plain(r))
}

// rounded keeps four digits, and all of a whole number.
func rounded(f float64) float64 {
	if f == math.Trunc(f) || math.IsInf(f, 0) || math.IsNaN(f) {
		return f
	}
	n, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 4, 64), 64)
	return n
}

// figures calls f with the figures that a row has, by their names in JSON.
func (r Row) figures(f func(name string, value float64)) {
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if p, ok := v.Field(i).Interface().(*float64); ok && p != nil {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			f(name, *p)
		}
	}
}

// compare sets the ratios of r to the mean of baselines.
func (r *Row) compare(baselines ...Row) {
	rate, cost := 0.0, 0.0
	for _, b := range baselines {
		rate += *b.PerSecond / float64(len(baselines))
		cost += (deref(b.RedisCPU) + deref(b.GoCPU)) / float64(len(baselines))
	}
	r.Baseline, r.Ratio = new(rate), new(ratio(*r.PerSecond, rate))
	r.CostRatio = new(ratio(deref(r.RedisCPU)+deref(r.GoCPU), cost))
}

// medians returns the first of several rows of the same case, with the median of each figure.
func medians(rows []Row) Row {
	m := rows[0]
	to := reflect.ValueOf(&m).Elem()
	for i := range to.NumField() {
		if _, ok := to.Field(i).Interface().(*float64); !ok {
			continue
		}
		var all []float64
		for _, r := range rows {
			if p := reflect.ValueOf(r).Field(i).Interface().(*float64); p != nil {
				all = append(all, *p)
			}
		}
		if len(all) > 0 {
			to.Field(i).Set(reflect.ValueOf(new(median(all, func(f float64) float64 { return f }))))
		}
	}
	return m
}

// about describes what a row was measured with.
func (r Row) about() string {
	parts := []string{}
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, thousands(float64(n))+" "+many)
		}
	}
	add(r.Workers, "worker", "workers")
	add(r.Numbers, "number", "numbers")
	if r.Rate > 0 {
		parts = append(parts, "at "+thousands(float64(r.Rate))+"/s")
	}
	if r.Backlog > 0 {
		parts = append(parts, "backlog "+thousands(float64(r.Backlog)))
	}
	if r.Durability != "" {
		parts = append(parts, r.Durability)
	}
	return strings.Join(parts, ", ")
}

// Print writes a row as text: what was measured, then its figures, several on each line.
func (r Row) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s (%s)\n", r.Bench, r.Case, r.about())
	n := 0
	r.figures(func(name string, value float64) {
		if n > 0 && n%3 == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "    %-26s %10s", name, show(value))
		n++
	})
	fmt.Fprintln(w)
}

// show returns a figure with its significant digits.
func show(f float64) string {
	switch {
	case f == math.Trunc(f) || math.Abs(f) >= 1000:
		return thousands(math.Round(f))
	case math.Abs(f) >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case math.Abs(f) >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 3, 64)
}

// thousands writes a whole number with a comma for each three digits.
func thousands(f float64) string {
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
