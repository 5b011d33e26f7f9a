package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/message"
	"sluice/internal/pgtest"
	"sluice/internal/poll"
)

// TestReader runs the tests that need no server of their own.
func TestReader(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	for name, test := range map[string]func(*testing.T, database){
		"one reader works": oneReaderWorks, "lost marks are repeated": lostMarksAreRepeated, "unavailable storage": unavailableStorage,
		"check": check, "quotes": quotes,
	} {
		t.Run(name, func(t *testing.T) { test(t, newDatabase(t, s)) })
	}
}

// database is a database with the outbox, and a connection to it.
type database struct {
	*pgx.Conn
	url string
}

func newDatabase(t *testing.T, s *pgtest.Server) database {
	t.Helper()
	url := s.Database()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	do(t, conn, Schema("sluice_outbox"))
	return database{conn, url}
}

func do(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%v in %s", err, sql)
	}
}

// reader returns a Reader that is not running.
func reader(t *testing.T, url string, accept func(ctx context.Context, orders []message.Order) ([]message.OrderResult, error)) *Reader {
	t.Helper()
	r, err := New(Options{
		URL: url, Table: "sluice_outbox", Poll: time.Millisecond, Accept: accept,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.disconnect)
	return r
}

// bodies returns the texts of orders.
func bodies(orders []message.Order) (all []string) {
	for _, o := range orders {
		all = append(all, string(o.Body))
	}
	return all
}

func accepted(orders []message.Order) (all []message.OrderResult) {
	for _, o := range orders {
		all = append(all, message.OrderResult{ID: "id of " + o.Key})
	}
	return all
}

// oneReaderWorks: while one reader accepts rows, another one does not, and not even later rows. It goes on where the
// first one ended. So rows are accepted in their order.
func oneReaderWorks(t *testing.T, db database) {
	const rows = batch + 10
	do(t, db.Conn, `INSERT INTO sluice_outbox (message) SELECT to_jsonb(n) FROM generate_series(1, $1) AS n`, rows)
	var got []string
	second := reader(t, db.url, func(_ context.Context, orders []message.Order) ([]message.OrderResult, error) {
		got = append(got, bodies(orders)...)
		return accepted(orders), nil
	})
	var first *Reader
	first = reader(t, db.url, func(ctx context.Context, orders []message.Order) ([]message.OrderResult, error) {
		var limit string
		if err := first.conn.QueryRow(ctx, `SHOW idle_in_transaction_session_timeout`).Scan(&limit); limit != "15s" {
			t.Errorf("a reader that hangs has a limit of %q, %v", limit, err)
		}
		if n, err := second.step(ctx); n != 0 || err != nil || len(got) > 0 {
			t.Errorf("the second reader accepted %d rows, %v", n, err)
		}
		got = append(got, bodies(orders)...)
		return accepted(orders), nil
	})
	for i, r := range []*Reader{first, second, first} {
		want := []int{batch, rows - batch, 0}[i]
		if n, err := r.step(t.Context()); n != want || err != nil {
			t.Errorf("step %d: %d rows, %v; want %d", i, n, err, want)
		}
	}
	for i, body := range got {
		if body != fmt.Sprint(i+1) {
			t.Fatalf("row %d: %s", i+1, body)
		}
	}
	if len(got) != rows {
		t.Errorf("%d rows", len(got))
	}
}

// lostMarksAreRepeated: the connection ends after the rows were accepted and before they are marked. They are accepted
// again, with the same keys, and a row that another transaction has locked holds up nothing.
func lostMarksAreRepeated(t *testing.T, db database) {
	do(t, db.Conn, `INSERT INTO sluice_outbox (message) SELECT to_jsonb(n) FROM generate_series(1, 3) AS n`)
	locked, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Rollback(context.Background())
	if _, err := locked.Exec(t.Context(), `UPDATE sluice_outbox SET created_at = now() WHERE id = 2`); err != nil {
		t.Fatal(err)
	}
	var calls [][]message.Order
	r := reader(t, db.url, func(ctx context.Context, orders []message.Order) ([]message.OrderResult, error) {
		calls = append(calls, orders)
		all := accepted(orders)
		if len(calls) == 1 {
			_, err := locked.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice' AND datname = current_database()`)
			return all, err
		}
		for i := range all {
			all[i].Duplicate = true
		}
		return all, nil
	})
	if n, err := r.step(t.Context()); n != 0 || err == nil {
		t.Fatalf("%d rows, %v", n, err)
	}
	if n, err := r.step(t.Context()); n != 2 || err != nil {
		t.Fatalf("%d rows, %v", n, err)
	}
	if fmt.Sprint(calls[0]) != fmt.Sprint(calls[1]) || !slices.Equal(bodies(calls[1]), []string{"1", "3"}) || calls[0][0].Key == calls[0][1].Key {
		t.Errorf("first %s, then %s", calls[0], calls[1])
	}
	if n := testutil.ToFloat64(r.metrics.rows["duplicate"]); n != 2 {
		t.Errorf("%v duplicates counted", n)
	}
	if n := testutil.ToFloat64(r.metrics.failures[causeDatabase]); n != 1 {
		t.Errorf("%v failures counted", n)
	}
}

// unavailableStorage: rows stay pending while storage is unavailable, and so does a row that waits for one of them.
// Their age is reported.
func unavailableStorage(t *testing.T, db database) {
	do(t, db.Conn, `INSERT INTO sluice_outbox (message, created_at) SELECT to_jsonb(n), now() - interval '1 hour' FROM generate_series(1, 4) AS n`)
	down := true
	r := reader(t, db.url, func(_ context.Context, orders []message.Order) ([]message.OrderResult, error) {
		all := accepted(orders)
		if down {
			all[1] = message.OrderResult{Code: "store_unavailable", Problem: []byte(`{}`), Retry: true}
			all[2] = message.OrderResult{Code: "after_not_found", Problem: []byte(`{}`)}
			all[3] = message.OrderResult{Code: "text_too_long", Problem: []byte(`{"code":"text_too_long"}`)}
		}
		return all, nil
	})
	states := func() (text string) {
		t.Helper()
		err := db.QueryRow(t.Context(), `SELECT string_agg(coalesce(state || coalesce(problem->>'code', message_id), '-'), ' ' ORDER BY id) FROM sluice_outbox`).Scan(&text)
		if err != nil {
			t.Error(err)
		}
		return text
	}
	if n, err := r.step(t.Context()); n != 2 || !errors.Is(err, errUnavailable) {
		t.Errorf("%d rows, %v", n, err)
	}
	if got := states(); !strings.HasPrefix(got, "acceptedid of outbox-") || !strings.HasSuffix(got, " - - refusedtext_too_long") {
		t.Errorf("states %s", got)
	}
	down = false
	if n, err := r.step(t.Context()); n != 2 || err != nil || strings.Contains(states(), "-  ") {
		t.Errorf("%d rows, %v, states %s", n, err, states())
	}
	if at := time.Unix(0, r.metrics.oldest.Load()); time.Since(at) < time.Hour || time.Since(at) > 2*time.Hour {
		t.Errorf("the oldest row is from %s", at)
	}
	if n, err := r.step(t.Context()); n != 0 || err != nil || r.metrics.oldest.Load() != 0 {
		t.Errorf("%d rows, %v, oldest %d", n, err, r.metrics.oldest.Load())
	}
}

// TestRunGoesOn: Run survives a restart of the database, and errors of Accept.
func TestRunGoesOn(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	db := newDatabase(t, s)
	calls := make(chan []string, 100)
	fail := errors.New("the API key has expired")
	r := reader(t, db.url, func(_ context.Context, orders []message.Order) ([]message.OrderResult, error) {
		calls <- bodies(orders)
		if err := fail; err != nil {
			fail = nil
			return nil, err
		}
		return accepted(orders), nil
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	do(t, db.Conn, `INSERT INTO sluice_outbox (message) VALUES ('1')`)
	for range 2 {
		if got := <-calls; !slices.Equal(got, []string{"1"}) {
			t.Errorf("%q", got)
		}
	}
	poll.Until(t, "the row is done", func() bool { return testutil.ToFloat64(r.metrics.rows[stateAccepted]) == 1 })
	s.Kill()
	poll.Until(t, "the reader sees that the database is away", func() bool { return testutil.ToFloat64(r.metrics.up) == 0 })
	s.Restart()
	again, err := pgx.Connect(t.Context(), db.url)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(context.Background())
	do(t, again, `INSERT INTO sluice_outbox (message) VALUES ('2')`)
	if got := <-calls; !slices.Equal(got, []string{"2"}) {
		t.Errorf("%q", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// check: an error says what to correct, and never quotes the password.
func check(t *testing.T, db database) {
	do(t, db.Conn, Schema("public.other"))
	do(t, db.Conn, `ALTER TABLE other DROP COLUMN done_at; CREATE ROLE reader LOGIN; GRANT SELECT ON sluice_outbox TO reader`)
	for _, c := range []struct{ url, table, want string }{
		{db.url, "sluice_outbox", ""},
		{db.url, "public.sluice_outbox", ""},
		{db.url, "missing", "42P01). Create the table"},
		{db.url, "nowhere.sluice_outbox", "Create the table"},
		{db.url, "other", "42703). Create the table"},
		{strings.Replace(db.url, "postgres@", "reader@", 1), "sluice_outbox", "Grant the rights"},
		{"postgres://u:canary@127.0.0.1:1/x", "sluice_outbox", "failed to connect"},
		{"postgres://u:canary@127.0.0.1:port/x", "sluice_outbox", "the URL of the outbox database is not valid"},
		{"host=x password=canary", "sluice_outbox", "the URL of the outbox database is not valid"},
	} {
		err := Check(t.Context(), c.url, c.table)
		if text := fmt.Sprint(err); (err == nil) != (c.want == "") || !strings.Contains(text, c.want) && c.want != "" || strings.Contains(text, "canary") {
			t.Errorf("%s: %v, want %q", c.table, err, c.want)
		}
	}
}

// quotes: a schema and a table with a reserved name work.
func quotes(t *testing.T, db database) {
	do(t, db.Conn, `CREATE SCHEMA shop`)
	do(t, db.Conn, Schema("shop.order"))
	do(t, db.Conn, `INSERT INTO shop."order" (message) VALUES ('{}')`)
	if err := Check(t.Context(), db.url, "shop.order"); err != nil {
		t.Error(err)
	}
}

// TestPageShowsSchema: docs/outbox.md has the SQL that `sluice outbox schema` prints.
func TestPageShowsSchema(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/outbox.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.ReplaceAll(string(page), "\n   ", "\n"), Schema("sluice_outbox")) {
		t.Error("docs/outbox.md does not show the SQL of the table")
	}
}
