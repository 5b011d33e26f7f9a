package outbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/outbox"
	"sluice/internal/pgtest"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// producerEnv makes the test binary a producer with the Redis and the database at these URLs.
const producerEnv = "SLUICE_TEST_OUTBOX_PRODUCER"

func TestMain(m *testing.M) {
	if urls := os.Getenv(producerEnv); urls != "" {
		redis, database, _ := strings.Cut(urls, " ")
		p, err := app.NewProducer(context.Background(), producerConfig(redis, database), slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if err == nil {
			err = p.Run(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const number = "106540352242922"

func producerConfig(redis, database string) config.Producer {
	return config.Producer{
		Common: config.Common{
			Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}},
			Redis: config.Redis{URL: config.Secret(redis)}, Graph: config.Graph{BaseURL: "http://127.0.0.1:1"},
		},
		Listen:  "127.0.0.1:0",
		APIKeys: []config.APIKey{{Name: "shop", Numbers: []string{number}, Scopes: []string{config.ScopeSend}}},
		Outbox:  config.Outbox{URL: config.Secret(database), Table: "sluice_outbox", APIKey: "shop", Poll: 10 * time.Millisecond},
	}
}

// world is a Redis, and a PostgreSQL with orders of a shop and the outbox. Producers have only the rights that the page
// lists.
type world struct {
	t     testing.TB
	redis *redistest.Server
	pg    *pgtest.Server
	url   string // for producers
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, redis: redistest.Start(t), pg: pgtest.Start(t)}
	w.url = strings.Replace(w.pg.URL(), "postgres@", "sluice@", 1)
	w.do(outbox.Schema("sluice_outbox"))
	w.do(`CREATE TABLE orders (n bigint PRIMARY KEY); CREATE ROLE sluice LOGIN`)
	w.do(regexp.MustCompile(`GRANT .*;`).FindString(outbox.Schema("sluice_outbox")))
	return w
}

// connect returns a connection of the shop.
func (w *world) connect() (*pgx.Conn, error) { return pgx.Connect(w.t.Context(), w.pg.URL()) }

func (w *world) do(sql string, args ...any) {
	w.t.Helper()
	conn, err := w.connect()
	if err == nil {
		defer conn.Close(context.Background())
		_, err = conn.Exec(w.t.Context(), sql, args...)
	}
	if err != nil {
		w.t.Fatalf("%v in %s", err, sql)
	}
}

// count returns the number that a query returns, or -1 while the database does not answer.
func (w *world) count(sql string) (n int) {
	conn, err := w.connect()
	if err != nil {
		return -1
	}
	defer conn.Close(context.Background())
	if conn.QueryRow(w.t.Context(), sql).Scan(&n) != nil {
		return -1
	}
	return n
}

const (
	pending  = `SELECT count(*) FROM sluice_outbox WHERE state IS NULL`
	accepted = `SELECT count(*) FROM sluice_outbox WHERE state = 'accepted'`
)

// records returns how many messages Redis has, and how many tasks.
func (w *world) records() (records, tasks int) {
	w.t.Helper()
	c := w.redis.Client()
	for _, s := range message.DefaultShards.All() {
		found, err := c.Keys(w.t.Context(), ledger.RecordPrefix(s)+"*").Result()
		if err != nil {
			w.t.Fatal(err)
		}
		records += len(found)
	}
	found, err := c.Keys(w.t.Context(), "asynq:*:t:*").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return records, len(found)
}

// start runs a producer in this process until the test ends.
func (w *world) start() *app.Program {
	w.t.Helper()
	p, err := app.NewProducer(w.t.Context(), producerConfig(w.redis.URL(), w.url), slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	return p
}

// total returns the sum of a metric of a producer.
func (w *world) total(p *app.Program, metric string) (sum float64) {
	w.t.Helper()
	families, err := p.Registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == metric {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// body returns the request of an order.
func body(n int, more map[string]any) string {
	m := map[string]any{"from": number, "message": map[string]any{"to": "+15551234567", "type": "text", "text": map[string]any{"body": "Order " + strconv.Itoa(n)}}}
	for name, value := range more {
		m[name] = value
	}
	b, _ := json.Marshal(m) // cannot fail
	return string(b)
}

// order writes an order and its message in one transaction, and commits it or not.
func order(ctx context.Context, conn *pgx.Conn, n int, commit bool) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, `INSERT INTO orders VALUES ($1)`, n); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO sluice_outbox (message) VALUES ($1)`, body(n, nil)); err != nil {
		return err
	}
	if !commit {
		return nil
	}
	return tx.Commit(ctx)
}

// TestRows: the messages of committed transactions are accepted, and those of others are not. A row that cannot be
// accepted is refused with the reason, and holds up nothing. A message can wait for one of the same transaction.
func TestRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.start()
	conn, err := w.connect()
	if err != nil {
		t.Fatal(err)
	}
	for n, commit := range []bool{false, true} {
		if err := order(t.Context(), conn, n, commit); err != nil {
			t.Fatal(err)
		}
	}
	poll.Until(t, "the order is accepted", func() bool { return w.count(accepted) == 1 })

	w.do(`ALTER TABLE sluice_outbox ALTER COLUMN message TYPE text`) // which can have what jsonb refuses
	conn.Close(t.Context())                                          // it knows the type from before
	if conn, err = w.connect(); err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	leader := map[string]any{"key": "order-7", "send_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	follower := map[string]any{"key": "order-7-thanks", "after": map[string]string{"key": "order-7", "state": "delivered"}}
	rows := []struct{ body, want string }{
		{"", "body_empty"},
		{"{", "json_invalid"},
		{"[]", "json_not_object"},
		{`{"from":5}`, "type_mismatch"},
		{body(2, map[string]any{"from": "1"}), "phone_number_id_not_found"},
		{body(2, map[string]any{"ref": strings.Repeat("x", 300<<10)}), "body_too_large"},
		{body(2, map[string]any{"ref": strings.Repeat("é", 130<<10)}), "body_too_large"},
		{body(2, map[string]any{"key": "order-2"}), ""},
		{body(2, map[string]any{"key": "order-2"}), ""}, // the same message
		{body(3, map[string]any{"key": "order-2"}), "idempotency_key_reused"},
		{body(4, map[string]any{"after": map[string]string{"key": "order-99", "state": "delivered"}}), "after_not_found"},
		{body(7, leader), ""},
		{body(8, follower), ""},
		{body(9, map[string]any{"key": nil}), ""},
		{body(9, nil), ""}, // another message
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if _, err := tx.Exec(t.Context(), `INSERT INTO sluice_outbox (message) VALUES ($1)`, r.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "all rows are done", func() bool { return w.count(pending) == 0 })
	got, err := conn.Query(t.Context(), `SELECT coalesce(problem->>'code', ''), coalesce(message_id, ''), state, done_at IS NOT NULL FROM sluice_outbox ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var code, id, state string
	var done bool
	var ids []string
	n := -1 // the order from before
	_, err = pgx.ForEachRow(got, []any{&code, &id, &state, &done}, func() error {
		if n >= 0 {
			if want := rows[n].want; code != want || (id == "") != (want != "") || (state == "accepted") != (want == "") || !done {
				t.Errorf("row %d: code %q, want %q; %s %s %v", n, code, want, id, state, done)
			}
		}
		ids = append(ids, id)
		n++
		return nil
	})
	if err != nil || n != len(rows) {
		t.Errorf("%d rows, %v", n, err)
	}
	if ids[8] != message.NewID(number, "order-2") || ids[9] != ids[8] {
		t.Errorf("ids of the same message: %s, %s", ids[8], ids[9])
	}
	if records, tasks := w.records(); records != 6 || tasks != 6 {
		t.Errorf("%d records, %d tasks", records, tasks)
	}
}

// TestRedisAway: rows stay pending while Redis is away, and are accepted when it is back.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start()
	w.redis.Kill()
	w.do(`INSERT INTO sluice_outbox (message) VALUES ($1)`, body(1, nil))
	poll.Until(t, "the reader has tried twice", func() bool { return w.total(p, "sluice_outbox_failures_total") >= 2 })
	if n := w.count(pending); n != 1 {
		t.Errorf("%d rows are pending", n)
	}
	w.redis.Restart()
	poll.Until(t, "the row is accepted", func() bool { return w.count(accepted) == 1 })
}

// TestKilledProducers kills the producers at random moments while a shop writes orders, half of the time the database
// too. Each committed order has one message with one task, and an order that was not committed has none.
// SLUICE_TEST_OUTBOX_KILLS is how often; without it a few times.
func TestKilledProducers(t *testing.T) {
	t.Parallel()
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("SLUICE_TEST_OUTBOX_KILLS")); err == nil {
		kills = n
	}
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(uint64(kills), 7))
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), producerEnv+"="+w.redis.URL()+" "+w.url)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	producers := []*exec.Cmd{start(), start()}
	kill := func(i int) {
		producers[i].Process.Kill()
		producers[i].Wait()
	}
	defer func() { kill(0); kill(1) }()

	ctx, stop := context.WithCancel(t.Context())
	var shop sync.WaitGroup
	tried := 0
	shop.Go(func() {
		var conn *pgx.Conn
		for ; ctx.Err() == nil; tried++ {
			if conn == nil {
				var err error
				if conn, err = w.connect(); err != nil {
					conn = nil
					time.Sleep(10 * time.Millisecond) // the database is away
					continue
				}
			}
			if err := order(t.Context(), conn, tried, tried%4 != 0); err != nil {
				conn.Close(context.Background())
				conn = nil
			}
			time.Sleep(2 * time.Millisecond) // hundreds of orders a second are enough
		}
		if conn != nil {
			conn.Close(context.Background())
		}
	})
	for i := range kills {
		before := w.count(accepted)
		poll.Until(t, "orders are accepted", func() bool { return w.count(accepted) > before+100 })
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		kill(i % 2)
		if rnd.IntN(2) == 0 {
			w.pg.Kill()
			w.pg.Restart()
		}
		producers[i%2] = start()
	}
	stop()
	shop.Wait()
	poll.Until(t, "all rows are done", func() bool { return w.count(pending) == 0 })
	orders := w.count(`SELECT count(*) FROM orders`)
	records, tasks := w.records()
	if n := w.count(`SELECT count(DISTINCT message_id) FROM sluice_outbox WHERE state = 'accepted'`); n != orders || records != orders || tasks != orders || orders == 0 || orders >= tried {
		t.Errorf("%d of %d orders were committed: %d messages, %d records, %d tasks", orders, tried, n, records, tasks)
	}
	t.Logf("%d kills, %d orders committed of %d", kills, orders, tried)
}

// BenchmarkRows accepts rows that are pending at the start, with Redis and PostgreSQL on this machine.
func BenchmarkRows(b *testing.B) {
	w := newWorld(b)
	w.do(`INSERT INTO sluice_outbox (message) SELECT $1::jsonb FROM generate_series(1, $2)`, body(1, nil), b.N)
	b.ResetTimer()
	p := w.start()
	poll.Until(b, "all rows are done", func() bool { return w.total(p, "sluice_outbox_rows_total") == float64(b.N) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
