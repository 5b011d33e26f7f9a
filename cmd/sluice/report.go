package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/internal/config"
	"sluice/internal/prices"
	"sluice/internal/report"
)

type reportCmd struct {
	Delivery reportDeliveryCmd `cmd:"" help:"How many messages were delivered and read, and how long it took."`
	Errors   reportErrorsCmd   `cmd:"" help:"Why messages were not delivered: Meta's error codes and Sluice's reasons."`
	Cost     reportCostCmd     `cmd:"" help:"What Meta charges: a statement for each WhatsApp Business Account."`
}

// reportFlags are the flags of all reports.
type reportFlags struct {
	Config        string   `env:"SLUICE_CONFIG" help:"Configuration file, for the archive." placeholder:"FILE"`
	From          string   `help:"First day, like 2026-01-31. Default: 7 days ago." placeholder:"DAY" xor:"from"`
	Until         string   `help:"Last day. Default: today." placeholder:"DAY"`
	Month         string   `help:"A whole month, like 2026-01, in place of --from and --until." xor:"from"`
	TimeZone      string   `default:"UTC" help:"Time zone of the days, like Europe/Berlin. Meta bills in the time zone of the account."`
	PhoneNumberID []string `name:"phone-number-id" help:"Only these numbers." placeholder:"ID"`
	Format        string   `default:"table" enum:"table,csv,json" help:"table, csv or json."`
}

// open returns the reports and the filter.
func (f reportFlags) open(env getenv) (*report.Reports, report.Filter, error) {
	filter, err := f.filter(time.Now())
	if err != nil {
		return nil, filter, err
	}
	c, pricesFile, err := loadArchive(f.Config, env)
	if err != nil {
		return nil, filter, err
	}
	var table *prices.Table
	if pricesFile != "" {
		if table, err = prices.Read(pricesFile); err != nil {
			return nil, filter, err
		}
	}
	r, err := report.Open(string(c.URL), table)
	return r, filter, err
}

// filter returns the filter of the flags.
func (f reportFlags) filter(now time.Time) (report.Filter, error) {
	out := report.Filter{Numbers: f.PhoneNumberID}
	zone, err := time.LoadLocation(f.TimeZone)
	if err != nil || f.TimeZone == "Local" {
		return out, fmt.Errorf("--time-zone: %q is not a time zone like Europe/Berlin", f.TimeZone)
	}
	out.Zone = zone
	if f.Month != "" {
		if f.Until != "" {
			return out, errors.New("--until: give it with --from, and not with --month")
		}
		if out.From, err = time.ParseInLocation("2006-01", f.Month, zone); err != nil {
			return out, fmt.Errorf("--month: %q is not a month like 2026-01", f.Month)
		}
		out.Until = out.From.AddDate(0, 1, 0)
		return out, nil
	}
	today := time.Date(now.In(zone).Year(), now.In(zone).Month(), now.In(zone).Day(), 0, 0, 0, 0, zone)
	out.From, out.Until = today.AddDate(0, 0, -7), today
	for _, flag := range []struct {
		name, text string
		at         *time.Time
	}{{"--from", f.From, &out.From}, {"--until", f.Until, &out.Until}} {
		if flag.text != "" {
			if *flag.at, err = time.ParseInLocation(time.DateOnly, flag.text, zone); err != nil {
				return out, fmt.Errorf("%s: %q is not a day like 2026-01-31", flag.name, flag.text)
			}
		}
	}
	if out.Until = out.Until.AddDate(0, 0, 1); !out.From.Before(out.Until) {
		return out, errors.New("--from is after --until: exchange them")
	}
	return out, nil
}

// loadArchive reads the configuration of the archive and of what Meta charges.
func loadArchive(file string, env getenv) (c config.Archive, pricesFile string, err error) {
	var args []string
	if file != "" {
		args = []string{"--config", file}
	}
	return config.LoadArchive(args, env)
}

type reportDeliveryCmd struct {
	By       []string `default:"day" help:"Groups: some of day, number, template, tag. A message with several tags counts for each."`
	Template string   `help:"Only this template, as name/language."`
	Tag      string   `help:"Only messages with this tag."`
	reportFlags
}

// Run prints what became of messages.
func (c reportDeliveryCmd) Run(ctx context.Context, env getenv) error {
	return c.run(ctx, env, os.Stdout)
}

func (c reportDeliveryCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	r, filter, err := c.open(env)
	if err != nil {
		return err
	}
	filter.Template, filter.Tag = c.Template, c.Tag
	var by []report.By
	var head []string
	for _, name := range c.By {
		by, head = append(by, report.By(name)), append(head, strings.ToUpper(name))
	}
	all, err := r.Deliveries(ctx, filter, by...)
	if err != nil {
		return err
	}
	head = append(head, "ACCEPTED", "DELIVERED", "READ", "NOT DELIVERED", "UNKNOWN", "OPEN", "RATE", "SUBMITTED P50", "P95", "P99", "DELIVERED P50", "P95", "P99")
	var rows [][]string
	for _, d := range all {
		var row []string
		for _, b := range by {
			row = append(row, map[report.By]string{report.ByDay: d.Day, report.ByNumber: d.Number, report.ByTemplate: d.Template, report.ByTag: d.Tag}[b])
		}
		row = append(row, strconv.Itoa(d.Accepted), strconv.Itoa(d.Delivered), strconv.Itoa(d.Read), strconv.Itoa(d.NotDelivered), strconv.Itoa(d.Unknown), strconv.Itoa(d.Open), fmt.Sprintf("%.4f", d.Rate))
		for _, seconds := range []float64{d.Submitted50, d.Submitted95, d.Submitted99, d.Delivered50, d.Delivered95, d.Delivered99} {
			row = append(row, strconv.FormatFloat(seconds, 'f', 3, 64))
		}
		rows = append(rows, row)
	}
	return c.print(out, all, head, rows)
}

type reportErrorsCmd struct {
	Template string `help:"Only this template, as name/language."`
	Tag      string `help:"Only messages with this tag."`
	reportFlags
}

// Run prints why messages were not delivered.
func (c reportErrorsCmd) Run(ctx context.Context, env getenv) error {
	return c.run(ctx, env, os.Stdout)
}

func (c reportErrorsCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	r, filter, err := c.open(env)
	if err != nil {
		return err
	}
	filter.Template, filter.Tag = c.Template, c.Tag
	all, err := r.Failures(ctx, filter)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, e := range all {
		rows = append(rows, []string{strconv.Itoa(e.Code), e.State, e.Reason, e.Result, strconv.Itoa(e.Messages)})
	}
	return c.print(out, all, []string{"CODE", "STATE", "REASON", "RESULT", "MESSAGES"}, rows)
}

type reportCostCmd struct{ reportFlags }

// Run prints a statement for each account.
func (c reportCostCmd) Run(ctx context.Context, env getenv) error { return c.run(ctx, env, os.Stdout) }

func (c reportCostCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	r, filter, err := c.open(env)
	if err != nil {
		return err
	}
	all, err := r.Statements(ctx, filter)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, s := range all {
		for _, l := range s.Lines {
			rows = append(rows, []string{s.Account, l.Market, l.Category, l.Type, strconv.Itoa(l.Messages), l.Price.String(), l.Amount.String(), s.Currency})
		}
		for _, l := range s.Unpriced {
			rows = append(rows, []string{s.Account, l.Market, l.Category, l.Type, strconv.Itoa(l.Messages), "unknown", "unknown", s.Currency})
		}
		note := ""
		if !s.Complete {
			note = "without the messages of unknown price"
		}
		rows = append(rows, []string{s.Account, "TOTAL", "", note, strconv.Itoa(s.Messages), "", s.Total.String(), s.Currency})
	}
	return c.print(out, all, []string{"ACCOUNT", "MARKET", "CATEGORY", "TYPE", "MESSAGES", "PRICE", "AMOUNT", "CURRENCY"}, rows)
}

// print prints a report in the format of the flags. In a table and in CSV the first row names the columns.
func (f reportFlags) print(out io.Writer, all any, head []string, rows [][]string) error {
	switch f.Format {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	case "csv":
		for i := range head {
			head[i] = strings.ToLower(strings.ReplaceAll(head[i], " ", "_"))
		}
		w := csv.NewWriter(out)
		w.Write(head)
		w.WriteAll(rows)
		return w.Error()
	}
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}
