package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/archive"
	"sluice/internal/pgtest"
	"sluice/internal/postgres"
)

// The days of a report are whole days of its time zone, today included.
func TestReportFilter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 22, 30, 0, 0, time.UTC) // the next day in Berlin
	for name, c := range map[string]struct {
		flags       reportFlags
		from, until string
	}{
		"usual":      {reportFlags{TimeZone: "UTC"}, "2026-03-24T00:00:00Z", "2026-04-01T00:00:00Z"},
		"in Berlin":  {reportFlags{TimeZone: "Europe/Berlin"}, "2026-03-25T00:00:00+01:00", "2026-04-02T00:00:00+02:00"},
		"one day":    {reportFlags{TimeZone: "UTC", From: "2026-01-31", Until: "2026-01-31"}, "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"},
		"a month":    {reportFlags{TimeZone: "Europe/Berlin", Month: "2026-03"}, "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"},
		"no order":   {reportFlags{TimeZone: "UTC", From: "2026-02-01", Until: "2026-01-31"}, "--from is after --until", ""},
		"no day":     {reportFlags{TimeZone: "UTC", From: "31.1.2026"}, `--from: "31.1.2026"`, ""},
		"no month":   {reportFlags{TimeZone: "UTC", Month: "2026"}, `--month: "2026"`, ""},
		"two ends":   {reportFlags{TimeZone: "UTC", Month: "2026-01", Until: "2026-01-31"}, "--until: give it with --from", ""},
		"no zone":    {reportFlags{TimeZone: "Berlin"}, `--time-zone: "Berlin"`, ""},
		"this place": {reportFlags{TimeZone: "Local"}, `--time-zone: "Local"`, ""},
	} {
		f, err := c.flags.filter(now)
		switch {
		case c.until == "":
			if err == nil || !strings.Contains(err.Error(), c.from) {
				t.Errorf("%s: %v, want %q", name, err, c.from)
			}
		case err != nil || f.From.Format(time.RFC3339) != c.from || f.Until.Format(time.RFC3339) != c.until:
			t.Errorf("%s: from %s until %s, %v", name, f.From, f.Until, err)
		}
	}
}

// The commands print what the archive has, in each format, and no error has the number of a recipient.
func TestArchiveCommands(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	config, err := postgres.Parse("archive", pg.URL())
	if err == nil {
		err = archive.Migrate(t.Context(), config)
	}
	if err == nil {
		err = postgres.Use(t.Context(), config, func(conn *pgx.Conn) error {
			_, err := conn.Exec(t.Context(), `CREATE TABLE d PARTITION OF sluice_archive FOR VALUES FROM ('2026-01-31') TO ('2026-02-01');
				INSERT INTO sluice_archive (at, seq, stream, line, kind, phone_number_id, message_id, state, template) VALUES ('2026-01-31 12:00Z', 0, 0, 0, 'message', '7', '7-a', 'queued', 'sale/en');
				INSERT INTO sluice_archive (at, seq, stream, line, kind, phone_number_id, message_id, state, result, code) VALUES ('2026-01-31 13:00Z', 0, 0, 0, 'final', '7', '7-a', 'failed', 'not_delivered', 131026);
				INSERT INTO sluice_archive (at, seq, stream, line, kind, phone_number_id, state, waba_id, meta_id, region, pricing_category, pricing_type) VALUES ('2026-01-31 13:00Z', 0, 1, 0, 'status', '7', 'delivered', '9', 1, '4917', 'utility', 'regular')`, pgx.QueryExecModeSimpleProtocol)
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	env := getenv(func(name string) string {
		return map[string]string{"SLUICE_ARCHIVE_DATABASE_URL": pg.URL(), "SLUICE_SECRETS_KEY": "0123456789abcdef"}[name]
	})
	flags := func(format string) reportFlags { return reportFlags{TimeZone: "UTC", Month: "2026-01", Format: format} }
	const number = "+491701234567"
	for _, c := range []struct {
		name string
		run  func(context.Context, *strings.Builder) error
		want string
	}{
		{"delivery", func(ctx context.Context, out *strings.Builder) error {
			return reportDeliveryCmd{By: []string{"day", "template"}, reportFlags: flags("csv")}.run(ctx, env, out)
		}, "2026-01-31,sale/en,1,0,0,1,0,0,0.0000"},
		{"errors", func(ctx context.Context, out *strings.Builder) error {
			return reportErrorsCmd{reportFlags: flags("json")}.run(ctx, env, out)
		}, `"code": 131026`},
		{"cost", func(ctx context.Context, out *strings.Builder) error {
			return reportCostCmd{flags("table")}.run(ctx, env, out)
		}, "without the messages of unknown price"},
		{"count", func(ctx context.Context, out *strings.Builder) error {
			return archiveDeleteCmd{recipientFlags: recipientFlags{To: "-"}}.run(ctx, env, strings.NewReader(number+"\n"), out)
		}, "0 rows would be deleted"},
		{"delete", func(ctx context.Context, out *strings.Builder) error {
			return archiveDeleteCmd{Confirm: true, recipientFlags: recipientFlags{To: "-"}}.run(ctx, env, strings.NewReader(number), out)
		}, "0 rows deleted"},
	} {
		var out strings.Builder
		if err := c.run(t.Context(), &out); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %v, without %q:\n%s", c.name, err, c.want, out.String())
		}
	}
	for _, to := range []string{number, os.DevNull} {
		err := archiveExportCmd{recipientFlags{To: to}}.run(t.Context(), env, strings.NewReader(""), new(strings.Builder))
		if err == nil || strings.Contains(err.Error(), number) {
			t.Errorf("%s: %v", to, err)
		}
	}
}
