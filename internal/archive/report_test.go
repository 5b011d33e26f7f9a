package archive_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/prices"
	"sluice/internal/report"
)

// at returns a time on a day of January 2026, UTC.
func at(day int, clock string) time.Time {
	t, err := time.Parse("2006-01-2 15:04:05", fmt.Sprintf("2026-01-%d %s", day, clock))
	if err != nil {
		panic(err)
	}
	return t
}

// open archives everything that is in the streams, and returns its reports.
func (w *world) open(rows int, priced string) *report.Reports {
	w.t.Helper()
	w.start("one", 20*365*24*time.Hour)
	poll.Until(w.t, "all is archived", func() bool { return w.query(count) == rows })
	var table *prices.Table
	if priced != "" {
		path := filepath.Join(w.t.TempDir(), "prices.yaml")
		err := os.WriteFile(path, []byte(priced), 0o600)
		if err == nil {
			table, err = prices.Read(path)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	r, err := report.Open(w.url, table)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// Messages count on the day of their acceptance, each once, with what became of them in the end.
func testReports(t *testing.T, w *world) {
	rows := 0
	put := func(at time.Time, e message.Event) {
		w.put(at, e)
		rows++
	}
	// The first message is delivered after ten seconds, and read.
	first := life(ours, ours+"-a0001")
	for i, e := range first {
		put(at(10, "12:00:00").Add(time.Duration(2*i)*time.Second), e)
	}
	// The second is accepted on the same day in UTC and the next day in Berlin, waits for a retry, and is refused a day later.
	second := life(ours, ours+"-a0002")
	second[0].Message.Template, second[0].Message.Tags = "sale/en", []string{"spring", "vip"}
	put(at(10, "23:30:00"), second[0])
	retried := second[0]
	retried.State = &message.Change{To: message.Queued, Attempt: 1, Code: 131000, Reason: message.ReasonServerError}
	put(at(11, "00:00:00"), retried)
	refused := second[6]
	refused.Final = &message.Final{Result: message.ResultNotDelivered, Certain: true, State: message.Rejected, Code: 131026}
	put(at(11, "10:00:00"), refused)
	// The third is of another number, and still open.
	put(at(12, "08:00:00"), life(theirs, theirs+"-a0003")[0])
	r := w.open(rows, "")

	january := report.Filter{From: at(1, "00:00:00"), Until: at(31, "00:00:00")}
	latency := report.Latency{Submitted50: 2, Submitted95: 2, Submitted99: 2, Delivered50: 10, Delivered95: 10, Delivered99: 10}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*report.Filter)
		by     []report.By
		want   []report.Delivery
	}{
		"by day": {by: []report.By{report.ByDay}, want: []report.Delivery{
			{Day: "2026-01-10", Accepted: 2, Delivered: 1, Read: 1, NotDelivered: 1, Rate: 0.5, Latency: latency}, {Day: "2026-01-12", Accepted: 1, Open: 1},
		}},
		"in Berlin": {func(f *report.Filter) { f.Zone, f.Numbers = berlin, []string{ours} }, []report.By{report.ByDay}, []report.Delivery{
			{Day: "2026-01-10", Accepted: 1, Delivered: 1, Read: 1, Rate: 1, Latency: latency}, {Day: "2026-01-11", Accepted: 1, NotDelivered: 1},
		}},
		"by template and number": {by: []report.By{report.ByTemplate, report.ByNumber}, want: []report.Delivery{
			{Template: "order/en", Number: ours, Accepted: 1, Delivered: 1, Read: 1, Rate: 1, Latency: latency},
			{Template: "order/en", Number: theirs, Accepted: 1, Open: 1},
			{Template: "sale/en", Number: ours, Accepted: 1, NotDelivered: 1},
		}},
		"by tag": {by: []report.By{report.ByTag}, want: []report.Delivery{
			{Tag: "spring", Accepted: 3, Delivered: 1, Read: 1, NotDelivered: 1, Open: 1, Rate: 0.5, Latency: latency}, {Tag: "vip", Accepted: 1, NotDelivered: 1},
		}},
		"of a tag":      {func(f *report.Filter) { f.Tag = "vip" }, nil, []report.Delivery{{Accepted: 1, NotDelivered: 1}}},
		"of a template": {func(f *report.Filter) { f.Template = "sale/en" }, nil, []report.Delivery{{Accepted: 1, NotDelivered: 1}}},
		"none":          {func(f *report.Filter) { f.From = at(13, "00:00:00") }, nil, []report.Delivery{}},
	} {
		f := january
		if c.change != nil {
			c.change(&f)
		}
		if got, err := r.Deliveries(t.Context(), f, c.by...); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want\n%+v", name, got, err, c.want)
		}
	}
	if _, err := r.Deliveries(t.Context(), january, "week"); err == nil || !strings.Contains(err.Error(), `"week"`) {
		t.Errorf("by week: %v", err)
	}
	want := []report.Undelivered{{Code: 131026, State: "rejected", Result: "not_delivered", Messages: 1}}
	if got, err := r.Failures(t.Context(), january); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("failures: %+v, %v", got, err)
	}
	if s, err := r.Summarize(t.Context(), january); err != nil || len(s.Days) != 2 || s.Templates[0].Accepted != 2 || len(s.Statements) != 1 || s.Statements[0].Complete {
		t.Errorf("summary: %+v, %v", s, err)
	}
}

const priceList = `currency: EUR
prices:
  - {market: Germany, prefixes: ["49"], category: utility, from: 2026-01-01, until: 2026-01-15, price: "0.0100"}
  - {market: Germany, prefixes: ["49"], category: utility, from: 2026-01-15, price: "0.0250"}
  - {market: North America, prefixes: ["1"], category: authentication-international, from: 2026-01-01, price: "0.000001"}
  - {market: Bahamas, prefixes: ["1242"], category: authentication-international, from: 2026-01-01, price: "7"}
`

// The lines of a statement add up to its total. Each delivered message counts once, in the month of its delivery, with the price
// of that day. Free messages cost nothing, and messages of unknown price are listed and never counted as free.
func testCost(t *testing.T, w *world) {
	rows := 0
	put := func(at time.Time, id, to, state, account, pricing string) {
		e := life(ours, id)[4]
		e.WABA, e.Report.Status = account, state
		e.Meta = fmt.Appendf(nil, `{"recipient_id":%q,"pricing":{%s}}`, to, pricing)
		w.put(at, e)
		rows++
	}
	const utility, international = `"type":"regular","category":"utility","billable":true`, `"type":"regular","category":"authentication_international"`
	december := at(1, "00:00:00").Add(-time.Minute)
	put(december, "m-0001", recipient, "delivered", "9001", utility)
	put(at(1, "00:01:00"), "m-0001", recipient, "delivered", "9001", utility) // the webhook comes again in January
	for i := range 3 {
		put(at(14, "23:59:59"), fmt.Sprintf("m-100%d", i), recipient, "delivered", "9001", utility)
	}
	put(at(14, "23:59:59"), "m-1000", recipient, "read", "9001", utility) // the same message
	put(at(15, "00:00:00"), "m-2000", recipient, "sent", "9001", utility) // not delivered
	put(at(15, "00:00:00"), "m-2001", recipient, "read", "9001", utility)
	put(at(15, "00:00:00"), "m-2002", recipient, "delivered", "9001", `"type":"free_customer_service","category":"service"`)
	put(at(15, "00:00:00"), "m-2003", recipient, "delivered", "9001", `"type":"regular","category":"marketing"`)
	put(at(15, "00:00:00"), "m-2004", "DE.1x2y3z", "delivered", "9001", utility)
	put(at(16, "00:00:00"), "m-3000", "15550001111", "delivered", "9002", international)
	put(at(16, "00:00:00"), "m-3001", "12425550000", "delivered", "9002", international)
	put(at(31, "23:59:59").Add(time.Second), "m-4000", recipient, "delivered", "9002", utility) // in February
	r := w.open(rows, priceList)

	got, err := r.Statements(t.Context(), report.Filter{From: at(1, "00:00:00"), Until: at(31, "23:59:59").Add(time.Second)})
	want := []report.Statement{
		{
			Account: "9001", Currency: "EUR", Messages: 7, Total: 55_000, Lines: []report.Line{
				{Category: "service", Type: "free_customer_service", Messages: 1},
				{Market: "Germany", Category: "utility", Type: "regular", Messages: 3, Price: 10_000, Amount: 30_000},
				{Market: "Germany", Category: "utility", Type: "regular", Messages: 1, Price: 25_000, Amount: 25_000},
			}, Unpriced: []report.Line{
				{Market: "4917", Category: "marketing", Type: "regular", Messages: 1},
				{Market: "DE", Category: "utility", Type: "regular", Messages: 1},
			},
		},
		{
			Account: "9002", Currency: "EUR", Messages: 2, Total: 7_000_001, Complete: true, Lines: []report.Line{
				{Market: "Bahamas", Category: "authentication_international", Type: "regular", Messages: 1, Price: 7_000_000, Amount: 7_000_000},
				{Market: "North America", Category: "authentication_international", Type: "regular", Messages: 1, Price: 1, Amount: 1},
			},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v, want\n%+v", got, err, want)
	}
	for _, s := range got {
		var sum message.Amount
		n := 0
		for _, l := range append(s.Lines, s.Unpriced...) {
			sum, n = sum+l.Amount, n+l.Messages
		}
		if sum != s.Total || n != s.Messages {
			t.Errorf("account %s: the lines have %d messages for %s, and the total is %d for %s", s.Account, n, sum, s.Messages, s.Total)
		}
	}
}
