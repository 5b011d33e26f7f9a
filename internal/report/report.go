// Package report reads the archive: how many messages were delivered, which errors ended the others, how long delivery took,
// and what Meta charges.
package report

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/postgres"
)

// Reader reads the reports of an archive. It connects for each report, and is safe for concurrent use.
type Reader struct{ config *pgx.ConnConfig }

// New returns the Reader of the archive at a URL. It does not connect. Its error does not quote the URL.
func New(url string) (*Reader, error) {
	config, err := postgres.Parse("archive", url)
	if err != nil {
		return nil, err
	}
	return &Reader{config}, nil
}

// Filter selects messages.
type Filter struct {
	From, Until time.Time      // accepted from, and before
	Zone        *time.Location // of days; nil: UTC
	Numbers     []string       // phone number ids; nil: all
	Template    string         // name/language; empty: all
	Tag         string         // empty: all
}

// zone returns the name of the time zone for PostgreSQL.
func (f Filter) zone() string {
	if f.Zone == nil {
		return "UTC"
	}
	return f.Zone.String()
}

// By is what the messages of a report are grouped by.
type By string

// The groups. A message with several tags is in the group of each.
const (
	ByDay      By = "day"
	ByNumber   By = "number"
	ByTemplate By = "template"
	ByTag      By = "tag"
)

// columns are the columns of a group.
var columns = map[By]string{
	ByDay:      `to_char(at AT TIME ZONE $4::text, 'YYYY-MM-DD')`,
	ByNumber:   `phone_number_id`,
	ByTemplate: `coalesce(template, '')`,
	ByTag:      `coalesce(tag, '')`,
}

// Delivery is what became of the messages of a group.
type Delivery struct {
	Day          string  `json:"day,omitempty" doc:"The day on which they were accepted."`
	Number       string  `json:"phone_number_id,omitempty" doc:"The sending number."`
	Template     string  `json:"template,omitempty" doc:"The template, as name/language."`
	Tag          string  `json:"tag,omitempty" doc:"One of the tags of the caller."`
	Accepted     int     `json:"accepted" doc:"Messages that Sluice accepted."`
	Delivered    int     `json:"delivered" doc:"Of these, Meta reported delivered, read or played."`
	Read         int     `json:"read" doc:"Of these, Meta reported read or played."`
	NotDelivered int     `json:"not_delivered" doc:"Ended, and it is certain that Meta did not deliver them."`
	Unknown      int     `json:"unknown" doc:"Ended, and Meta may have delivered them."`
	Open         int     `json:"open" doc:"Not ended yet."`
	Rate         float64 `json:"delivery_rate" doc:"delivered divided by the messages that have ended; 0 to 1."`
	Latency
}

// Latency is how long messages took, in seconds. It is 0 if there are none.
type Latency struct {
	Submitted50 float64 `json:"submitted_p50_seconds" doc:"From the acceptance until Meta took the message: the median."`
	Submitted95 float64 `json:"submitted_p95_seconds" doc:"The same, 95 % of the messages took at most so long."`
	Submitted99 float64 `json:"submitted_p99_seconds" doc:"The same for 99 %."`
	Delivered50 float64 `json:"delivered_p50_seconds" doc:"From the acceptance until Meta reported delivered or read: the median."`
	Delivered95 float64 `json:"delivered_p95_seconds" doc:"The same for 95 %."`
	Delivered99 float64 `json:"delivered_p99_seconds" doc:"The same for 99 %."`
}

// messages are the messages of a filter ($1 from, $2 until, $3 numbers, $4 zone, $5 template, $6 tag), each once, with what became
// of it. Events of a message follow its acceptance by up to 31 days, and by more if an operator sends it again. The zone is there
// for each query.
const messages = `WITH accepted AS (
	SELECT DISTINCT ON (message_id) message_id, at, phone_number_id, template, tags FROM sluice_archive
	WHERE kind = 'message' AND state = 'queued' AND attempt IS NULL AND code IS NULL AND reason IS NULL
		AND at >= $1 AND at < $2 AND ($3::text[] IS NULL OR phone_number_id = ANY($3)) AND $4::text IS NOT NULL
		AND ($5::text = '' OR template = $5) AND ($6::text = '' OR $6 = ANY(tags))
	ORDER BY message_id, at
), ends AS (
	SELECT DISTINCT ON (message_id) message_id, state, result, code, reason FROM sluice_archive
	WHERE kind = 'final' AND at >= $1 ORDER BY message_id, at DESC, seq DESC
), steps AS (
	SELECT message_id, min(at) FILTER (WHERE state = 'submitted') AS submitted,
		min(at) FILTER (WHERE state IN ('delivered', 'read', 'played')) AS delivered,
		bool_or(state IN ('read', 'played')) AS read
	FROM sluice_archive WHERE kind = 'message' AND at >= $1 AND state IN ('submitted', 'delivered', 'read', 'played') GROUP BY 1
), messages AS (
	SELECT a.*, e.state, e.result, e.code, e.reason, s.read,
		extract(epoch FROM s.submitted - a.at)::float8 AS submitted, extract(epoch FROM s.delivered - a.at)::float8 AS delivered
	FROM accepted a LEFT JOIN ends e USING (message_id) LEFT JOIN steps s USING (message_id)
) `

func (f Filter) args() []any {
	return []any{f.From, f.Until, f.Numbers, f.zone(), f.Template, f.Tag}
}

// Deliveries returns what became of messages, grouped and in the order of the groups. Without a group it returns all together, and
// nothing if there are no messages.
func (r *Reader) Deliveries(ctx context.Context, f Filter, by ...By) (all []Delivery, err error) {
	from := `messages`
	keys := make([]string, len(by))
	order := ""
	for i, b := range by {
		if keys[i] = columns[b]; keys[i] == "" {
			return nil, fmt.Errorf("%q is no group of reports: use day, number, template or tag", b)
		}
		if b == ByTag {
			from = `messages LEFT JOIN LATERAL unnest(tags) AS tag ON true`
		}
	}
	if len(by) > 0 {
		order = ` GROUP BY ` + strings.Join(keys, ", ") + ` ORDER BY ` + strings.Join(keys, ", ")
	}
	sql := messages + `SELECT ARRAY[` + strings.Join(keys, ", ") + `]::text[], count(*), count(*) FILTER (WHERE result = 'delivered'), count(*) FILTER (WHERE read),
		count(*) FILTER (WHERE result = 'not_delivered'), count(*) FILTER (WHERE result = 'unknown'), count(*) FILTER (WHERE result IS NULL),
		coalesce(percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY submitted), '{0,0,0}'),
		coalesce(percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY delivered), '{0,0,0}')
		FROM ` + from + order
	all = []Delivery{}
	err = r.read(ctx, sql, f.args(), func(row pgx.CollectableRow) error {
		var d Delivery
		var names []string
		var submitted, delivered []*float64 // without a message each is NULL
		if err := row.Scan(&names, &d.Accepted, &d.Delivered, &d.Read, &d.NotDelivered, &d.Unknown, &d.Open, &submitted, &delivered); err != nil {
			return err
		}
		for i, b := range by {
			*map[By]*string{ByDay: &d.Day, ByNumber: &d.Number, ByTemplate: &d.Template, ByTag: &d.Tag}[b] = names[i]
		}
		if ended := d.Accepted - d.Open; ended > 0 {
			d.Rate = float64(d.Delivered) / float64(ended)
		}
		fill(submitted, &d.Submitted50, &d.Submitted95, &d.Submitted99)
		fill(delivered, &d.Delivered50, &d.Delivered95, &d.Delivered99)
		if d.Accepted > 0 {
			all = append(all, d)
		}
		return nil
	})
	return all, err
}

// fill copies percentiles that are there.
func fill(values []*float64, to ...*float64) {
	for i, v := range values {
		if v != nil && i < len(to) {
			*to[i] = *v
		}
	}
}

// Undelivered is how many messages ended undelivered with the same code and reason.
type Undelivered struct {
	Code     int    `json:"code" doc:"Meta's error code; 0: none."`
	State    string `json:"state" doc:"The state in which they ended."`
	Reason   string `json:"reason,omitempty" doc:"Why."`
	Result   string `json:"result" doc:"not_delivered or unknown."`
	Messages int    `json:"messages" doc:"How many."`
}

// Failures returns why messages were not delivered, the most frequent first.
func (r *Reader) Failures(ctx context.Context, f Filter) (all []Undelivered, err error) {
	sql := messages + `SELECT coalesce(code, 0), state, coalesce(reason, ''), result, count(*) FROM messages WHERE result <> 'delivered' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3`
	all = []Undelivered{}
	err = r.read(ctx, sql, f.args(), func(row pgx.CollectableRow) error {
		var one Undelivered
		if err := row.Scan(&one.Code, &one.State, &one.Reason, &one.Result, &one.Messages); err != nil {
			return err
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// read runs a query, and calls f with each row.
func (r *Reader) read(ctx context.Context, sql string, args []any, f func(pgx.CollectableRow) error) error {
	err := postgres.Use(ctx, r.config, func(conn *pgx.Conn) error {
		found, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		_, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (struct{}, error) { return struct{}{}, f(row) })
		return err
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("read the archive: %w", postgres.Explain(err, "Start a worker with the role archive: it creates the tables", "Grant SELECT on sluice_archive"))
}
