package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/events"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/store"
)

type topCmd struct {
	Interval time.Duration `default:"2s" help:"Time between two updates."`
	Once     bool          `help:"Print one table and exit. This is the default if the output is not a terminal."`
	Limit    int           `default:"40" help:"How many numbers to show. Those with the most waiting messages come first, and as many as fit on the terminal. 0: all."`
	Config   string        `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the numbers." placeholder:"FILE"`
}

// Help explains the columns.
func (topCmd) Help() string {
	return "RATE/LIMIT: the effective rate and the rate limit, in messages per second. REFUSED AT: the rate at which Meta last refused a message as too fast. " +
		"PAUSE: how long the number still pauses because of that. HOLD: all, or how many templates and tags are held. HELD: the messages that holds keep from being sent. " +
		"DONE/S: tasks per second that ended since the last update. ACTIVE: tasks that workers have fetched. " +
		"A column for each class: the messages that wait, and how long the oldest has waited. LATER: scheduled messages, retries, and messages that wait for their recipient or for the messaging limit. " +
		"ETA: how long until the waiting messages are sent; held: unknown, because the number is held. " +
		"MESSAGING LIMIT: how many people are counted that the portfolio wrote to first in 24 hours, and how many messages wait because of the limit. " +
		"EVENTS: the Redis memory that events use and may use, and how long they are kept."
}

// Run shows the table once, or live on a terminal.
func (t topCmd) Run(ctx context.Context, env getenv) error {
	return t.run(ctx, env, os.Stdout, terminal(os.Stdout))
}

func (t topCmd) run(ctx context.Context, env getenv, out io.Writer, terminal bool) error {
	if t.Interval < 100*time.Millisecond {
		return errors.New("--interval must be 100ms or longer")
	}
	in, err := open(ctx, t.Config, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	if len(in.directory.Numbers()) == 0 {
		return errors.New("no phone number id is configured. Give the configuration of the workers with --config, or set PHONE_NUMBER_ID")
	}
	if terminal && !t.Once {
		return t.live(ctx, out, in.read)
	}
	now, err := in.read(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, now.table(snapshot{}, t.Limit))
	return err
}

// Control sequences for a terminal (ECMA-48, and DEC's private modes): a screen of its own without
// cursor and line wrap, and back; a frame over the last one without flicker.
const (
	screenOn  = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	screenOff = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home      = "\x1b[H"
	lineEnd   = "\x1b[K\n"
	screenEnd = "\x1b[J"
)

// live shows one snapshot after the other until ctx ends. While Redis does not answer, it shows the error
// above the last table.
func (t topCmd) live(ctx context.Context, out io.Writer, read func(context.Context) (snapshot, error)) error {
	last, err := read(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, screenOn)
	defer fmt.Fprint(out, screenOff)
	tick := time.NewTicker(t.Interval)
	defer tick.Stop()
	for table := last.table(snapshot{}, rows(out, t.Limit)); ; {
		if _, err := io.WriteString(out, home+strings.ReplaceAll(table, "\n", lineEnd)+screenEnd); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := read(ctx)
		if err != nil {
			_, below, _ := strings.Cut(table, "\n")
			table = fmt.Sprintf("since %s: %v\n%s", last.at.Format(time.TimeOnly), err, below)
			continue
		}
		table = now.table(last, rows(out, t.Limit))
		last = now
	}
}

// table shows a snapshot, with the throughput since an earlier one.
func (s snapshot) table(before snapshot, limit int) string {
	rates := slices.Clone(s.rates)
	slices.SortFunc(rates, func(a, b backlog.Number) int {
		return cmp.Or(cmp.Compare(s.waiting(b), s.waiting(a)), cmp.Compare(a.Number, b.Number))
	})
	rest := rates[:0]
	if limit > 0 && len(rates) > limit {
		rates, rest = rates[:limit], rates[limit:]
	}
	done := map[string]int{}
	for _, p := range before.rates {
		done[p.Number] = sum(p, func(w backlog.Waiting) int { return w.Done })
	}

	var b strings.Builder
	active, held := 0, 0
	for _, p := range s.rates {
		active += sum(p, func(w backlog.Waiting) int { return w.Active })
		held += s.held[p.Number]
	}
	fmt.Fprintf(&b, "%s  waiting %d (held %d), attempting %d, in doubt %d, parked %d, dead letters %d\n\n",
		s.at.Format(time.TimeOnly), max(0, s.open.Waiting-int64(active)), held, active, s.open.InDoubt, s.open.Parked, s.open.Dead)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "PHONE NUMBER ID\tRATE/LIMIT\tREFUSED AT\tPAUSE\tHOLD\tHELD\tDONE/S\tACTIVE")
	for _, c := range message.Classes() {
		fmt.Fprint(w, "\t", strings.ToUpper(string(c)))
	}
	fmt.Fprintln(w, "\tLATER\tETA")
	for _, p := range rates {
		speed := "-"
		if from, ok := done[p.Number]; ok {
			n := sum(p, func(w backlog.Waiting) int { return w.Done }) - from
			speed = fmt.Sprintf("%.1f", max(0, float64(n)/s.at.Sub(before.at).Seconds()))
		}
		fmt.Fprintf(w, "%s\t%.0f/%.0f\t%s\t%s\t%s\t%s\t%s\t%d", p.Number, p.Rate, p.Full, count(p.Ceiling),
			span(time.Until(p.Pause)), s.holdsOn(p.Number), count(s.held[p.Number]), speed, sum(p, func(w backlog.Waiting) int { return w.Active }))
		for _, c := range p.Waiting {
			fmt.Fprint(w, "\t", waitingFor(c))
		}
		fmt.Fprintf(w, "\t%s\t%s\n", count(sum(p, func(w backlog.Waiting) int { return w.Delayed })), s.eta(p))
	}
	w.Flush()
	if len(rest) > 0 {
		n := 0
		for _, p := range rest {
			n += s.waiting(p)
		}
		fmt.Fprintf(&b, "and %d more numbers, with %d waiting\n", len(rest), n)
	}
	b.WriteString(limitLines(s.rates))
	b.WriteString(elsewhereLines(s.rates))
	b.WriteString(keptLine(s.kept))
	return b.String()
}

// limitLines says how much of the messaging limits of portfolios is used, of those with waiting messages or 90 % used.
func limitLines(rates []backlog.Number) string {
	states, waiting, ends := map[string]*portfolio.State{}, map[string]int{}, map[string]time.Duration{}
	for _, p := range rates {
		if s := p.Portfolio; s != nil {
			states[s.Portfolio] = s
			waiting[s.Portfolio] += sum(p, func(w backlog.Waiting) int { return w.Limited })
			ends[s.Portfolio] = max(ends[s.Portfolio], p.LimitWaitAll())
		}
	}
	lines := ""
	for _, id := range slices.Sorted(maps.Keys(states)) {
		if s := states[id]; waiting[id] > 0 || 10*s.Used >= 9*s.Limit {
			lines += fmt.Sprintf("\nMESSAGING LIMIT of portfolio %s: %d of %d people, %d waiting, the last leaves in %s", id, s.Used, s.Limit, waiting[id], span(ends[id]))
		}
	}
	if lines != "" {
		lines += "\n"
	}
	return lines
}

// elsewhereLines says for how many people messages wait because another app owns the conversation.
func elsewhereLines(rates []backlog.Number) (lines string) {
	for _, p := range rates {
		if p.Elsewhere > 0 {
			lines += fmt.Sprintf("\nCONVERSATIONS of other apps keep messages of %s to %d people", p.Number, p.Elsewhere)
		}
	}
	if lines != "" {
		lines += "\n"
	}
	return lines
}

// keptLine says how much memory the events use and how long they are kept; nothing before the first measurement.
func keptLine(k events.Kept) string {
	if k.At.IsZero() {
		return ""
	}
	line := fmt.Sprintf("\nEVENTS: %s of %s, kept for %s", store.Size(k.Bytes), store.Size(k.Budget), span(k.Effective))
	if k.Short() {
		line += fmt.Sprintf(" instead of %s: they use all their memory", span(k.Retention))
	}
	return line + "\n"
}

// eta returns how long until the waiting messages of a number are sent. A number that is held sends nothing
// until its hold ends, and the end of a hold is not certain.
func (s snapshot) eta(p backlog.Number) string {
	if holds.KeepAll(s.holds, p.Number) {
		return "held"
	}
	return span(p.ETAAll())
}

// waiting returns how many messages of a number wait for a slot or for the end of a hold.
func (s snapshot) waiting(p backlog.Number) int {
	n := sum(p, func(w backlog.Waiting) int { return w.Pending })
	if holds.KeepAll(s.holds, p.Number) {
		return max(n, s.held[p.Number]) // which counts those that are pending too
	}
	return n + s.held[p.Number]
}

// holdsOn says what of a number is held: all of it, or how many templates and tags.
func (s snapshot) holdsOn(number string) string {
	if holds.KeepAll(s.holds, number) {
		return "all"
	}
	templates, tags := 0, 0
	for _, h := range s.holds {
		switch {
		case h.Number != "" && h.Number != number:
		case h.Template != "":
			templates++
		default:
			tags++
		}
	}
	var some []string
	if templates > 0 {
		some = append(some, plural(templates, "template"))
	}
	if tags > 0 {
		some = append(some, plural(tags, "tag"))
	}
	return cmp.Or(strings.Join(some, ", "), "-")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func sum(p backlog.Number, of func(backlog.Waiting) int) (n int) {
	for _, w := range p.Waiting {
		n += of(w)
	}
	return n
}

// waitingFor returns how many messages wait in a class, and how long the first has waited.
func waitingFor(w backlog.Waiting) string {
	s := count(w.Pending)
	if w.Pending > 0 {
		s += " (" + span(w.Age()) + ")"
	}
	if w.Paused {
		s += " paused"
	}
	return s
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// span writes a time in its two largest units; - for none.
func span(d time.Duration) string {
	switch s := int(d.Round(time.Second) / time.Second); {
	case d <= 0:
		return "-"
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
	}
}
