// Package ops contains what every program offers to operators: metrics, health, profiles, and
// logs without secrets and without phone numbers.
package ops

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sluice/internal/version"
)

// Registry returns a new registry with the metrics that every program has: those of the Go
// runtime and of the process, and sluice_build_info.
func Registry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(),
	)
	return reg
}

// buildInfo is a series with the value 1 whose labels say which version runs.
func buildInfo() prometheus.Collector {
	v := version.Current()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info",
		Help: "Version of the program, in the labels: revision and date are those of the commit. The value is always 1.",
		ConstLabels: prometheus.Labels{
			"version": v.Version, "revision": v.Commit, "date": v.Date, "goversion": runtime.Version(),
		},
	})
	g.Set(1)
	return g
}
