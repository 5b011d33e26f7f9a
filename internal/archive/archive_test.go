package archive_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"sluice/internal/archive"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/pgtest"
	"sluice/internal/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manyEvents is how many events the test of a killed database archives. `make archive-million` sets a million.
func manyEvents(t *testing.T) int {
	text := os.Getenv("SLUICE_TEST_ARCHIVE_EVENTS")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The database is killed while two workers archive, and started again. Then one worker is stopped with entries that it has not
// acknowledged. The archive has every event, and none twice.
func TestKilledDatabase(t *testing.T) {
	pg := pgtest.Start(t)
	w := newWorld(t, pg)
	total := manyEvents(t)
	stream := events.New(w.db, shards, events.Options{})
	var batch []message.Event
	for i := range total / 8 {
		number := ours
		if i%3 == 0 {
			number = theirs
		}
		batch = append(batch, life(number, fmt.Sprintf("%s-%026d", number, i))...)
		if len(batch) >= 2000 || i == total/8-1 {
			if err := stream.Append(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	total -= total % 8
	began := time.Now()
	soon := func(a *archive.Archive) { a.ReclaimAfter(time.Second) }
	first := w.start("one", 100*24*time.Hour, soon)
	w.start("two", 100*24*time.Hour, soon)
	eventually(t, "a third is archived", func() bool { return w.query(count) > total/3 })
	pg.KillHard()
	died := time.Now()
	first()
	poll.Until(t, "the other worker meets the failure", func() bool {
		return w.metric("sluice_archive_database_up", "") == 0 && w.metric("sluice_archive_failures_total", "database") > 0
	})
	pg.Restart()
	down := time.Since(died)
	eventually(t, "all is archived and acknowledged", func() bool { return w.query(count) >= total && pending(t, w) == 0 })
	took := time.Since(began)
	if n := w.query(count); n != total {
		t.Errorf("%d rows of %d events", n, total)
	}
	if n := w.query(`SELECT count(*) FROM (SELECT message_id, kind, state FROM sluice_archive GROUP BY 1, 2, 3 HAVING count(*) = 1) AS each`); n != total {
		t.Errorf("%d different events, want %d", n, total)
	}
	bytes := w.query(`SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'sluice_archive'::regclass`)
	t.Logf("%d events in %s (%.0f per second; the database was down for %s), %d bytes for a message", total, took.Round(time.Millisecond), float64(total)/(took-down).Seconds(), down.Round(time.Millisecond), bytes/(total/8))
}

// eventually is poll.Until with another limit, as a million events take longer: shortly before that of go test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end, limited := t.Deadline()
	for !ok() {
		if limited && time.Until(end) < 10*time.Second {
			t.Fatalf("not before the time limit of go test: %s", what)
		}
		time.Sleep(100 * time.Millisecond) // to count a million rows costs the database time
	}
}

// pending returns how many entries the group has not read or not acknowledged.
func pending(t *testing.T, w *world) (n int) {
	lags, err := events.New(w.db, shards, events.Options{}).Lags(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lags {
		if l.Group == archive.Group {
			n += l.Entries
		}
	}
	return n
}

// metric returns a metric of the last archive, with a value of its label if it has one.
func (w *world) metric(name, label string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("no metric %s %s", name, label)
	return 0
}

// One PostgreSQL serves all other tests, which have databases of their own.
func TestArchive(t *testing.T) {
	pg := pgtest.Start(t)
	for name, test := range map[string]func(*testing.T, *world){
		"what is not archived": testWhatIsNotArchived, "retention": testRetention, "recipients": testRecipients, "reports": testReports, "cost": testCost,
	} {
		t.Run(name, func(t *testing.T) { test(t, newWorld(t, pg)) })
	}
}

// The archive has no text, no phone number and no id of Meta's, which contains the phone number. It has nothing of what people
// wrote, and says when events were lost.
func testWhatIsNotArchived(t *testing.T, w *world) {
	now := time.Now()
	for _, e := range life(ours, ours+"-a0001") {
		w.put(now, e)
	}
	w.put(now, message.Event{Version: message.EventVersion, Type: message.EventInbound, Number: ours, Meta: []byte(`{"text":{"body":"` + private + `"}}`)})
	w.put(now, message.Event{Version: message.EventVersion, Type: message.EventGap, Number: ours, Gap: &message.Gap{Group: archive.Group, From: "1-0", To: "2-0"}})
	w.put(now, message.Event{Version: message.EventVersion, Type: message.EventGap, Number: ours, Gap: &message.Gap{Group: "crm", From: "1-0", To: "2-0"}})
	odd := life(ours, ours+"-a0002")[0]
	odd.Message.Ref, odd.Message.Tags = "a\x00b", []string{"c\x00d", `"},{`}
	w.put(now, odd)
	w.line(events.MetaKey(shards.Of(ours)), now, "no event")
	w.start("one", 100*24*time.Hour)
	poll.Until(t, "all is read", func() bool { return w.query(count) == 9 && pending(t, w) == 0 })
	rows, _ := w.conn.Query(t.Context(), `SELECT a::text FROM sluice_archive a`)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(all, "\n")
	for _, secret := range []string{recipient, recipient[4:], private, "wamid"} {
		if strings.Contains(text, secret) {
			t.Errorf("the archive contains %q:\n%s", secret, text)
		}
	}
	for _, want := range []string{"4917", "order/en", "spring", "a?b", "c?d"} {
		if !strings.Contains(text, want) {
			t.Errorf("the archive does not contain %q:\n%s", want, text)
		}
	}
	if gaps, unreadable := w.metric("sluice_archive_gaps_total", ""), w.metric("sluice_archive_rows_total", "unreadable"); gaps != 1 || unreadable != 1 {
		t.Errorf("%g gaps and %g unreadable entries, want one each", gaps, unreadable)
	}
}

// The archive drops whole days that are older than its retention.
func testRetention(t *testing.T, w *world) {
	for i, age := range []time.Duration{50, 40, 1} {
		w.put(time.Now().Add(-age*24*time.Hour), life(ours, fmt.Sprintf("%s-a000%d", ours, i))[0])
	}
	stop := w.start("one", 100*24*time.Hour)
	poll.Until(t, "all is archived", func() bool { return w.query(count) == 3 })
	stop()
	w.start("two", 45*24*time.Hour)
	poll.Until(t, "the oldest day is dropped", func() bool { return w.query(count) == 2 })
	if n := w.query(`SELECT count(*) FROM pg_inherits WHERE inhparent = 'sluice_archive'::regclass`); n != 3 {
		t.Errorf("%d partitions, want those of two days and tomorrow's", n)
	}
}

// What the archive has about a recipient can be exported and deleted with the number at hand, and other recipients stay.
func testRecipients(t *testing.T, w *world) {
	for _, e := range life(ours, ours+"-a0001") {
		w.put(time.Now(), e)
	}
	other := life(ours, ours+"-a0002")[4]
	other.Meta = []byte(strings.Replace(string(other.Meta), recipient, "15550001111", 1))
	w.put(time.Now(), other)
	w.start("one", 100*24*time.Hour)
	poll.Until(t, "all is archived", func() bool { return w.query(count) == 9 })
	r, err := archive.NewRecipients(w.url, hash)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, to := range []string{"+" + recipient, "490000000000"} {
		if err := r.Export(t.Context(), to, func(e archive.Event) error {
			ids = append(ids, e.ID)
			_, err := json.Marshal(e)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 8 || ids[0] != ours+"-a0001" {
		t.Errorf("exported %q", ids)
	}
	all := 0
	if err := r.ExportAll(t.Context(), []string{archive.HashRecipient(hash, recipient), archive.HashRecipient(hash, "15550001111")}, func(archive.Event) error { all++; return nil }); err != nil || all != 9 {
		t.Errorf("exported %d rows of two recipients, %v", all, err)
	}
	if n, err := r.Delete(t.Context(), recipient); n != 8 || err != nil {
		t.Errorf("deleted %d rows, %v", n, err)
	}
	if n := w.query(count); n != 1 {
		t.Errorf("%d rows are left, want that of the other recipient", n)
	}
}
