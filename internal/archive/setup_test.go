package archive_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/archive"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/pgtest"
	"sluice/internal/postgres"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	shards = message.Shards(4)
	ours   = "106540352242922"
	theirs = "200000000000001"
	// recipient and text are private: they must not be in the archive.
	recipient = "491701234567"
	private   = "a private text"
)

var hash = secrets.Hasher("a key of the tests", archive.RecipientPurpose)

// world is a Redis and a database.
type world struct {
	t    testing.TB
	url  string // of the database
	db   *store.DB
	conn *pgx.Conn            // for query; nil: not connected
	reg  *prometheus.Registry // of the last archive
}

func newWorld(t testing.TB, pg *pgtest.Server) *world {
	t.Helper()
	w := &world{t: t, url: pg.Database()}
	db, err := store.New(t.Context(), redistest.Start(t, "--appendfsync", "no", "--maxmemory", "4gb").Client())
	if err != nil {
		t.Fatal(err)
	}
	w.db = db
	t.Cleanup(func() { postgres.Close(w.conn) })
	return w
}

// start runs an archive until stop, which waits for its end.
func (w *world) start(name string, retention time.Duration, set ...func(*archive.Archive)) (stop func()) {
	w.t.Helper()
	w.reg = prometheus.NewRegistry()
	a, err := archive.New(w.db, archive.Options{
		URL: w.url, Worker: name, Shards: shards, Retention: retention, Hash: hash, Registerer: w.reg,
		Message: func(marker string) string { return strings.TrimPrefix(marker, "marker ") },
		Recipients: func(_ context.Context, _ message.Shard, ids []string) (map[string]archive.Recipient, error) {
			all := map[string]archive.Recipient{}
			for _, id := range ids {
				all[id] = archive.Recipient{Hash: hash(recipient), Text: "+" + recipient}
			}
			return all, nil
		},
		Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range set {
		f(a)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	w.t.Cleanup(stop)
	return stop
}

// put writes an event to its stream at a time.
func (w *world) put(at time.Time, e message.Event) {
	w.t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	key := events.MetaKey(shards.Of(e.Number))
	if e.Message != nil {
		key = events.MessageKey(shards.Of(e.Number))
	}
	w.line(key, at, string(text))
}

// line writes a line to a stream at a time.
func (w *world) line(key string, at time.Time, text string) {
	w.t.Helper()
	err := w.db.XAdd(w.t.Context(), &redis.XAddArgs{Stream: key, ID: fmt.Sprintf("%d-*", at.UnixMilli()), Values: []any{events.Field, text}}).Err()
	if err != nil {
		w.t.Fatal(err)
	}
}

// query returns the first value of a query, or -1 while the database does not answer.
func (w *world) query(sql string) (n int) {
	if w.conn == nil {
		conn, err := pgx.Connect(w.t.Context(), w.url)
		if err != nil {
			return -1
		}
		w.conn = conn
	}
	if w.conn.QueryRow(w.t.Context(), sql).Scan(&n) != nil {
		postgres.Close(w.conn)
		w.conn = nil
		return -1
	}
	return n
}

const count = `SELECT count(*) FROM sluice_archive`

// life returns the events of a message that is delivered and read.
func life(number, id string) []message.Event {
	c := &message.Context{ID: id, From: number, Class: message.Utility, Type: "template", Template: "order/en", Ref: "order-" + id[len(id)-4:], Tags: []string{"spring"}, To: "+49***67", Callback: private}
	change := func(to message.State, attempt int) message.Event {
		return message.Event{Version: message.EventVersion, Type: message.EventMessage, Number: number, State: &message.Change{To: to, Attempt: attempt}, Message: c}
	}
	status := func(name string) message.Event {
		wamid := "wamid.HBgL" + id
		return message.Event{
			Version: message.EventVersion, Type: message.EventStatus, Number: number, WABA: "9001", Field: "messages",
			Report: &message.StatusReport{Number: number, WAMID: wamid, Status: name, Marker: "marker " + id},
			Meta:   fmt.Appendf(nil, `{"id":%q,"status":%q,"timestamp":"1763820424","recipient_id":%q,"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}`, wamid, name, recipient),
		}
	}
	return []message.Event{
		change(message.Queued, 0), change(message.Submitted, 1), status("sent"), change(message.Sent, 1), status("delivered"), change(message.Delivered, 1),
		{Version: message.EventVersion, Type: message.EventFinal, Number: number, Final: &message.Final{Result: message.ResultDelivered, Certain: true, State: message.Delivered, Text: "Meta delivered the message."}, Message: c},
		change(message.Read, 1),
	}
}
