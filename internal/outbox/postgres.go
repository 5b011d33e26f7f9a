package outbox

import (
	"context"
	_ "embed"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/message"
	"sluice/internal/postgres"
)

//go:embed schema.sql
var schema string

// Schema returns the SQL that creates a table, whose name is a name or schema.name.
func Schema(table string) string {
	_, name, qualified := strings.Cut(table, ".")
	if !qualified {
		name = table
	}
	return strings.NewReplacer("{table}", quote(table), "{index}", quote(name+"_pending")).Replace(schema)
}

// quote quotes a name or schema.name.
func quote(table string) string { return pgx.Identifier(strings.Split(table, ".")).Sanitize() }

// statements are the SQL statements of a Reader.
type statements struct{ peek, lock, read, mark string }

func newStatements(table string) statements {
	all := []string{
		// The age of the first pending row, in seconds.
		`SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM {table} WHERE state IS NULL ORDER BY id LIMIT 1`,

		// A lock for the transaction, which only one reader has. The first half of its key is Sluice's, the second half the
		// table's. PostgreSQL ends the transaction of a reader that hangs.
		`SELECT set_config('idle_in_transaction_session_timeout', '15s', true), pg_try_advisory_xact_lock(1399616595::bigint << 32 | '{table}'::regclass::oid::bigint)`,

		`SELECT id, key::text, left(coalesce(message::text, ''), $1) FROM {table} WHERE state IS NULL ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED`,

		`UPDATE {table} AS t SET state = d.state, message_id = nullif(d.message_id, ''), problem = nullif(d.problem, '')::jsonb, done_at = clock_timestamp()
			FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS d (id, state, message_id, problem) WHERE t.id = d.id`,
	}
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], "{table}", quote(table))
	}
	return statements{all[0], all[1], all[2], all[3]}
}

// peek connects if necessary, and reports whether a row is pending.
func (r *Reader) peek(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errors.New("no answer within 10 s"))
	defer cancel()
	if r.conn == nil {
		conn, err := pgx.ConnectConfig(ctx, r.config)
		if err != nil {
			return false, err
		}
		r.conn = conn
	}
	var age float64
	err := r.conn.QueryRow(ctx, r.sql.peek).Scan(&age)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, err
	}
	r.metrics.peeked(err == nil, time.Duration(age*float64(time.Second)))
	return err == nil, nil
}

// read locks the first pending rows, and returns them. It returns none while another reader works.
func (r *Reader) read(ctx context.Context, tx pgx.Tx) (ids []int64, orders []message.Order, err error) {
	var locked bool
	if err := tx.QueryRow(ctx, r.sql.lock).Scan(nil, &locked); err != nil || !locked {
		return nil, nil, err
	}
	rows, err := tx.Query(ctx, r.sql.read, MaxText, batch)
	if err != nil {
		return nil, nil, err
	}
	var id int64
	var key, text string
	_, err = pgx.ForEachRow(rows, []any{&id, &key, &text}, func() error {
		ids, orders = append(ids, id), append(orders, message.Order{Body: []byte(text), Key: "outbox-" + key})
		return nil
	})
	return ids, orders, err
}

// marks are the results of rows that are done, as columns.
type marks struct {
	ids                          []int64
	states, messageIDs, problems []string
	accepted, duplicates         int
}

// The states of a row that is done.
const (
	stateAccepted = "accepted"
	stateRefused  = "refused"
)

func (m *marks) add(id int64, v message.OrderResult) {
	state := stateRefused
	if v.Code == "" {
		state = stateAccepted
		m.accepted++
	}
	if v.Duplicate {
		m.duplicates++
	}
	m.ids, m.states = append(m.ids, id), append(m.states, state)
	m.messageIDs, m.problems = append(m.messageIDs, v.ID), append(m.problems, string(v.Problem))
}

// mark writes the results of rows.
func (r *Reader) mark(ctx context.Context, tx pgx.Tx, m marks) error {
	if len(m.ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, r.sql.mark, m.ids, m.states, m.messageIDs, m.problems)
	return err
}

// disconnect ends the connection.
func (r *Reader) disconnect() {
	postgres.Close(r.conn)
	r.conn = nil
}

// Check connects to a database and runs the statements of a Reader, which change nothing. Its error says what to
// correct. It blocks for at most 10 s.
func Check(ctx context.Context, url, table string) error {
	config, err := postgres.Parse("outbox", url)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sql := newStatements(table)
	return explain(postgres.Use(ctx, config, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, sql.read, MaxText, 0); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, sql.mark, []int64{}, []string{}, []string{}, []string{})
		return err
	}))
}

// explain returns an error of PostgreSQL in one line, with what to do.
func explain(err error) error {
	return postgres.Explain(err, "Create the table with the SQL that `sluice outbox schema` prints, and compare outbox.table", "Grant the rights that `sluice outbox schema` prints")
}
