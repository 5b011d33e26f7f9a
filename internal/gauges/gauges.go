// Package gauges exports metrics of what the store holds: queues, rates, open messages.
package gauges

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/backlog"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
)

// fresh is how long one reading of the store serves further scrapes.
const fresh = 10 * time.Second

// Options say what the gauges read. All fields are required.
type Options struct {
	Rates   func(ctx context.Context, numbers []string) ([]backlog.Number, error)
	Unknown func(ctx context.Context, known func(string) bool) ([]backlog.Number, error) // numbers with tasks that are not configured
	Backlog func(ctx context.Context) (ledger.Backlog, error)
	Holds   holdReader
	Causes  []string                               // why there can be holds
	CauseOf func(message.Hold) string              // why there is a hold, one of Causes
	Targets func(ctx context.Context) (int, error) // number of relay targets
	Numbers func() []string                        // the configured phone number ids
	Log     *slog.Logger
}

// holdReader reads which holds there are, and what they keep.
type holdReader interface {
	List(ctx context.Context) ([]message.Hold, error)
	CountHeld(ctx context.Context, holds []message.Hold) (byHold []int, byNumber map[string]int, err error)
}

// Gauges reads the store when it is scraped. Every worker exports the same values: take the maximum
// over workers, not the sum. Without an answer of the store there are no such series.
type Gauges struct {
	Options

	mu   sync.Mutex
	at   time.Time // of the last reading
	last []prometheus.Metric
}

// New returns a Gauges, for a registry.
func New(o Options) *Gauges { return &Gauges{Options: o} }

var (
	byClass  = []string{"phone_number_id", "class"}
	byNumber = []string{"phone_number_id"}

	depthDesc     = prometheus.NewDesc("sluice_queue_depth", "Messages in the queue that wait for a send slot, or for the end of a hold on the number. Scheduled messages, retries, and messages of held templates and tags are not counted.", byClass, nil)
	ageDesc       = prometheus.NewDesc("sluice_queue_oldest_age_seconds", "How long the oldest message in the queue has waited, without messages of campaigns with a rate or a cap per day. 0: none waits.", byClass, nil)
	etaDesc       = prometheus.NewDesc("sluice_queue_eta_seconds", "Time until a message that is accepted now is sent: until the messages before it have left, at the effective rate. +Inf: the number is held.", byClass, nil)
	heldDesc      = prometheus.NewDesc("sluice_number_held_messages", "Messages of the number that a hold keeps from being sent. sluice holds lists the holds.", byNumber, nil)
	limitDesc     = prometheus.NewDesc("sluice_number_rate_limit_messages_per_second", "Messages per second that the number may send: the configured rate limit, or the one set with sluice rate.", byNumber, nil)
	effectiveDesc = prometheus.NewDesc("sluice_number_effective_rate_messages_per_second", "Messages per second that the number sends at most now. It is lower than the rate limit after Meta refused messages because the number was too fast.", byNumber, nil)
	elsewhereDesc = prometheus.NewDesc("sluice_conversations_waiting_people", "People whose messages from the number wait because another app owns the conversation. sluice explain says so for one message.", byNumber, nil)
	unknownDesc   = prometheus.NewDesc("sluice_number_unconfigured_messages", "Messages that wait for a phone number id that no worker has in its configuration. They are not sent.", byNumber, nil)
	openDesc      = prometheus.NewDesc("sluice_messages_open", "Messages that have not ended, by state. attempting: a worker has fetched the message and sends it within seconds. queued: all other waiting messages, scheduled and held ones included.", []string{"state"}, nil)
	unreadDesc    = prometheus.NewDesc("sluice_holds_unreadable", "Holds that are in force although they cannot be read: their reason and their operator are lost. sluice holds lists them, and sluice release ends them.", nil, nil)
	targetsDesc   = prometheus.NewDesc("sluice_relay_targets", "Relay targets. sluice relay list lists them.", nil, nil)
	deadDesc      = prometheus.NewDesc("sluice_dead_letters", "Messages in the dead-letter list. They can be sent again with sluice replay.", nil, nil)
)

// Describe sends the descriptions of all gauges, for the registry.
func (g *Gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{depthDesc, ageDesc, etaDesc, heldDesc, limitDesc, effectiveDesc, elsewhereDesc, unknownDesc, openDesc, deadDesc, unreadDesc, targetsDesc, holdsDesc, keptDesc, wholeDesc} {
		out <- d
	}
}

// Collect sends the gauges, for the registry. When the last reading is old it reads the store, in a few
// round trips for all numbers.
func (g *Gauges) Collect(out chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.IsZero() || time.Since(g.at) >= fresh {
		g.last, g.at = g.read(), time.Now()
	}
	for _, m := range g.last {
		out <- m
	}
}

func (g *Gauges) read() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
	defer cancel()
	configured := g.Numbers()
	numbers, err := g.Rates(ctx, configured)
	var open ledger.Backlog
	if err == nil {
		open, err = g.Backlog(ctx)
	}
	var unknown []backlog.Number
	if err == nil {
		unknown, err = g.Unknown(ctx, func(number string) bool { return slices.Contains(configured, number) })
	}
	var inForce []message.Hold
	var byHold []int
	var held map[string]int
	if err == nil {
		inForce, err = g.Holds.List(ctx)
	}
	if err == nil {
		byHold, held, err = g.Holds.CountHeld(ctx, inForce)
	}
	targets := 0
	if err == nil {
		targets, err = g.Targets(ctx)
	}
	if err != nil {
		g.Log.Warn("cannot read queue metrics", "err", err)
		return nil
	}
	var all []prometheus.Metric
	active := 0
	add := func(d *prometheus.Desc, v float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	add(targetsDesc, float64(targets))
	for _, p := range numbers {
		add(limitDesc, p.Full, p.Number)
		add(effectiveDesc, p.Rate, p.Number)
		add(heldDesc, float64(held[p.Number]), p.Number)
		add(elsewhereDesc, float64(p.Elsewhere), p.Number)
		whole := holds.KeepAll(inForce, p.Number)
		for _, w := range p.Waiting {
			active += w.Active
			add(depthDesc, float64(w.Pending), p.Number, string(w.Class))
			add(ageDesc, w.Age().Seconds(), p.Number, string(w.Class))
			eta := p.ETA(w.Class).Seconds()
			if whole {
				eta = math.Inf(1)
			}
			add(etaDesc, eta, p.Number, string(w.Class))
		}
	}
	for _, p := range unknown {
		add(unknownDesc, float64(p.Messages()), p.Number)
	}
	// What a worker has fetched counts as being sent; the two were not read at the same moment.
	add(openDesc, float64(max(0, open.Waiting-int64(active))), string(message.Queued))
	add(openDesc, float64(active), string(message.Attempting))
	add(openDesc, float64(open.InDoubt), string(message.InDoubt))
	add(openDesc, float64(open.Parked), string(message.Parked))
	add(deadDesc, float64(open.Dead))
	g.addHolds(add, inForce, byHold)
	return all
}
