package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/migrate"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// Everything that an API user sees of a message stays the same.
func TestRecordsStayAsTheyWere(t *testing.T) {
	t.Parallel()
	f := setup(t)
	before := f.hashes()
	n := f.migrate()
	want := records(t)
	states := map[message.State]int{}
	for id, was := range want {
		states[message.State(was["state"].(string))]++
		if now := f.asked(id); !reflect.DeepEqual(now, was) {
			t.Errorf("%s is\n%v, was\n%v", id, now, was)
		}
	}
	if !reflect.DeepEqual(n.States, states) || n.Converted != len(want) {
		t.Errorf("counted %v, converted %d; want %v", n.States, n.Converted, states)
	}
	for _, s := range []message.State{"attempting", "cancelled", "dead", "delivered", "expired", "failed", "in_doubt", "parked", "queued", "read", "rejected", "sent", "submitted"} {
		if states[s] == 0 {
			t.Errorf("the fixture has no message that is %s", s)
		}
	}
	for id, h := range before { // what the API does not show
		r, err := f.ledger().Read(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if r.Hash != h["hash"] || r.Token != h["own"] || fmt.Sprintf("%x", r.Recipient) != h["pair"] || r.Payload != h["payload"] ||
			len(r.WAMIDs()) != len(strings.Fields(h["wamid"]+" "+h["wamids"])) ||
			r.Resends != len(h["rs"]) {
			t.Errorf("%s: %+v, was %v", id, r, h)
		}
	}
}

func TestListsAndIndexes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	// Left over: the time of these records is over.
	gone := normal + "-aaaaaaaaaaaaaaaaaaaaaaaaaa"
	s := shards.Of(normal)
	f.db.ZAdd(ctx, store.Key(s, "dead"), redis.Z{Score: 1, Member: "131026:why:" + gone})
	f.db.ZAdd(ctx, store.Key(s, "waiting"), redis.Z{Score: 1, Member: gone})
	f.db.Set(ctx, store.Key(s, "p:"+gone), "{}", 0)
	n := f.migrate()
	count := func(states ...message.State) (all int64) {
		for _, s := range states {
			all += int64(n.States[s])
		}
		return all
	}
	for list, want := range map[string]int64{
		"waiting": count("queued", "attempting"), "doubts": count("in_doubt"), "parked": count("parked"),
		"dead": count("dead"), "awaiting": count("submitted"), "attempts": 0, "submitted": 0,
	} {
		var got int64
		for _, s := range shards.All() {
			got += f.db.ZCard(ctx, store.Key(s, list)).Val()
		}
		if got != want {
			t.Errorf("%s: %d, want %d", list, got, want)
		}
	}
	for _, prefix := range []string{"p:", "w:", "o:", "pair:"} {
		if keys := f.db.Keys(ctx, "sluice:{s*}:"+prefix+"*").Val(); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
	}
	// Records of ended messages are deleted at the end of their lives, and not before.
	ended := map[string]bool{}
	for _, key := range f.db.Keys(ctx, "sluice:{s*}:ended:*").Val() {
		hour, _ := strconv.ParseInt(key[strings.LastIndexByte(key, ':')+1:], 10, 64)
		if hour < time.Now().Unix()/3600 {
			t.Errorf("%s is over already", key)
		}
		for _, id := range f.db.LRange(ctx, key, 0, -1).Val() {
			if ended[id] {
				t.Errorf("%s ends twice", id)
			}
			ended[id] = true
		}
	}
	if want := count("delivered", "read", "failed", "rejected", "expired", "cancelled", "dead"); int64(len(ended)) != want {
		t.Errorf("%d records end, want %d", len(ended), want)
	}
	for _, s := range shards.All() {
		if f.db.Get(ctx, store.Key(s, "forgotten")).Val() == "" {
			t.Error("it is not known where forgetting begins")
		}
	}
	// Messages are found by their reference: the latest hundred.
	for ref, want := range map[string]int{"campaign": 100, "later": 3, "unknown": 0} {
		number := normal
		if ref == "campaign" {
			number = held
		}
		found, err := f.ledger().ByRef(ctx, []string{number}, ref)
		if err != nil || len(found) != want {
			t.Errorf("by reference %s: %d, %v; want %d", ref, len(found), err, want)
		}
		for i := range max(0, len(found)-1) {
			if found[i].AcceptedAt.Before(found[i+1].AcceptedAt) {
				t.Errorf("by reference %s: not the latest first", ref)
			}
		}
	}
	for _, key := range f.db.Keys(ctx, "sluice:{s*}:r:*").Val() {
		if f.db.TTL(ctx, key).Val() > 0 {
			t.Errorf("%s ends by itself", key)
		}
	}
}

// A status that names a message by Meta's id alone finds it, and a status that waits continues to wait.
func TestStatusesFindTheirMessages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	n := f.migrate()
	if n.Unmatched != 3 {
		t.Errorf("%d reports wait, want 3", n.Unmatched)
	}
	submitted := 0
	for id, r := range records(t) {
		if r["state"] != "submitted" {
			continue
		}
		submitted++
		number, _ := message.Number(id)
		results, err := f.ledger().Apply(ctx, shards.Of(number), []message.MarkedReport{{StatusReport: message.StatusReport{Number: number, WAMID: r["wamid"].(string), Status: "delivered"}}}, nil)
		if err != nil || results[0] != message.Applied {
			t.Errorf("%s: %v, %v", id, results, err)
		}
	}
	if submitted == 0 {
		t.Error("nothing was submitted")
	}
	for range 2 { // looked at again: their messages are not known
		if k, _, err := f.ledger().ApplyUnmatched(ctx, shards.Of(normal), time.Now().Add(time.Minute)); err != nil || k != 0 {
			t.Errorf("%d found their message, %v", k, err)
		}
	}
	if k := f.db.ZCard(ctx, store.Key(shards.Of(normal), "orphans")).Val(); k != 2 {
		t.Errorf("%d reports wait, want 2", k)
	}
}

// What Sluice had not applied is in the new streams, once and in its order; the old ones stay for
// other consumer groups.
func TestEventsAreNotLost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	want := map[string][]string{}
	for _, s := range shards.All() {
		old := store.Key(s, "events")
		ids := map[string]bool{}
		for _, p := range f.db.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: old, Group: "reconcile", Start: "-", End: "+", Count: 1000}).Val() {
			ids[p.ID] = true
		}
		for _, g := range f.db.XInfoGroups(ctx, old).Val() {
			if g.Name == "reconcile" {
				for _, x := range f.db.XRange(ctx, old, "("+g.LastDeliveredID, "+").Val() {
					ids[x.ID] = true
				}
			}
		}
		for _, x := range f.db.XRange(ctx, old, "-", "+").Val() {
			if !ids[x.ID] {
				continue
			}
			line := x.Values["event"].(string)
			key := events.MetaKey(s)
			if strings.HasPrefix(line, `{"v":1,"type":"message"`) {
				key = events.MessageKey(s)
			}
			want[key] = append(want[key], line)
		}
	}
	n := f.migrate()
	total := 0
	for _, s := range shards.All() {
		for _, key := range []string{events.MetaKey(s), events.MessageKey(s)} {
			total += len(want[key])
			if got := f.lines(key); !reflect.DeepEqual(got, want[key]) {
				t.Errorf("%s: %d events, want %d", key, len(got), len(want[key]))
			}
		}
	}
	if total == 0 || n.Events != total || len(want[events.MetaKey(shards.Of(normal))]) < 20 {
		t.Errorf("copied %d events, want %d", n.Events, total)
	}
	old := store.Key(shards.Of(normal), "events")
	if f.db.XLen(ctx, old).Val() < 300 || f.db.TTL(ctx, old).Val() <= 0 {
		t.Error("the group crm cannot read on")
	}
	if k := f.db.XLen(ctx, store.Key(shards.Of(hangs), "events")).Val(); k > 1 {
		t.Errorf("%d entries that are handled stay, and no group may want them", k)
	}
	stream := events.New(f.db, shards, events.Options{})
	if behind, err := stream.Behind(ctx); err != nil || behind == 0 {
		t.Errorf("%d shards have Meta's events to be applied, %v", behind, err)
	}
}

// The fetched tasks of the killed worker are at the heads of their queues, and asynq agrees.
func TestTasksGoBackToTheirQueues(t *testing.T) {
	t.Parallel()
	f := setup(t)
	queue := func(number string) string { return shards.Of(number).String() + "}:" + number + ":service" }
	inspector := asynq.NewInspectorFromRedisClient(f.db)
	before, err := inspector.GetQueueInfo(queue(hangs))
	if err != nil || before.Active < 8 {
		t.Fatalf("%+v, %v", before, err)
	}
	list := "asynq:{" + queue(hangs) + "}:active"
	first := f.db.LIndex(t.Context(), list, -1).Val()
	totals := map[string]int{}
	names, _ := inspector.Queues()
	for _, name := range names {
		info, _ := inspector.GetQueueInfo(name)
		totals[name] = info.Active + info.Pending + info.Scheduled + info.Retry
	}
	n := f.migrate()
	if n.Tasks < before.Active {
		t.Errorf("%d tasks went back, want %d", n.Tasks, before.Active)
	}
	for _, name := range names {
		info, err := inspector.GetQueueInfo(name)
		if err != nil || info.Active != 0 || info.Pending+info.Scheduled+info.Retry != totals[name] {
			t.Errorf("%s: %+v, %v; want %d tasks", name, info, err, totals[name])
		}
	}
	task, err := inspector.GetTaskInfo(queue(hangs), first)
	if err != nil || task.State != asynq.TaskStatePending {
		t.Errorf("%+v, %v", task, err)
	}
	if head := f.db.LIndex(t.Context(), strings.Replace(list, "active", "pending", 1), -1).Val(); head != first {
		t.Errorf("%s is at the head, want %s, which was taken first", head, first)
	}
	if k := f.db.Exists(t.Context(), "asynq:{"+queue(hangs)+"}:lease").Val(); k != 0 {
		t.Error("the lease is there")
	}
}

func TestOldProgramsRefuseTheStore(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if err := f.ledger().CheckShards(t.Context()); !errors.Is(err, ledger.ErrOldFormat) {
		t.Errorf("a new program starts on the old store: %v", err)
	}
	// So the old programs read the layout.
	old := func() error {
		_, err := f.db.Get(t.Context(), "sluice:shards").Int()
		return err
	}
	if err := old(); err != nil {
		t.Error(err)
	}
	if err := f.ledger().BeginMigration(t.Context()); err != nil {
		t.Fatal(err)
	}
	if old() == nil {
		t.Error("an old program starts on a store that is being migrated")
	}
	f.migrate()
	if old() == nil {
		t.Error("an old program starts on the migrated store")
	}
	if err := f.ledger().CheckShards(t.Context()); err != nil {
		t.Errorf("a new program refuses the migrated store: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		first func(f fixture)
		shard message.Shards
		want  error
	}{
		"a worker runs": {func(f fixture) {
			f.ledger().Heartbeat(f.t.Context(), []message.Heartbeat{{Shard: 3, Worker: "worker-1", N: 1}})
		}, shards, migrate.ErrRunning},
		"an asynq server runs": {func(f fixture) {
			f.db.ZAdd(f.t.Context(), "asynq:servers", redis.Z{Score: float64(time.Now().Add(time.Minute).Unix()), Member: "asynq:servers:{host:1:x}"})
		}, shards, migrate.ErrRunning},
		"a record cannot be read": {func(f fixture) {
			f.db.HSet(f.t.Context(), store.Key(shards.Of(normal), "m:"+normal+"-aaaaaaaaaaaaaaaaaaaaaaaaaa"), "st", "queued")
		}, shards, migrate.ErrUnreadable},
		"another number of shards": {func(fixture) {}, 8, ledger.ErrShards},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			of.first(f)
			_, err := migrate.Run(t.Context(), f.db, migrate.Options{Shards: of.shard})
			if !errors.Is(err, of.want) {
				t.Errorf("%v, want %v", err, of.want)
			}
			if err := f.ledger().CheckShards(t.Context()); !errors.Is(err, ledger.ErrOldFormat) {
				t.Errorf("a new program may start: %v", err)
			}
		})
	}
}

// A dry run changes nothing and counts the same.
func TestDryRun(t *testing.T) {
	t.Parallel()
	f := setup(t)
	before := f.dump()
	var out bytes.Buffer
	n, err := migrate.Run(t.Context(), f.db, migrate.Options{DryRun: true, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	if after := f.dump(); !reflect.DeepEqual(before, after) {
		t.Error("it changed the store")
	}
	if done := f.migrate(); !reflect.DeepEqual(n, done) {
		t.Errorf("it counted %+v, the migration %+v", n, done)
	}
	if row := fmt.Sprintf("  %d queued\n", n.States[message.Queued]); !strings.Contains(out.String(), row) {
		t.Errorf("it printed\n%s", &out)
	}
}

// What an old program wrote after the migration is converted by another one.
func TestLateWrites(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	f.migrate()
	s := shards.Of(normal)
	id := normal + "-aaaaaaaaaaaaaaaaaaaaaaaaaa"
	f.db.HSet(ctx, store.Key(s, "m:"+id), "st", "queued", "k", "0", "n", "0", "f", "1", "acc", "1795896169216", "exp", "1795982569216", "c", "service", "ty", "text", "tl", "q0+0|")
	f.db.Set(ctx, store.Key(s, "p:"+id), "{}", 0)
	f.db.XAdd(ctx, &redis.XAddArgs{Stream: store.Key(s, "events"), Values: []any{"event", "{\n\"type\": \"status\"}"}})
	n := f.migrate()
	if n.Converted != 1 || n.Events != 1 {
		t.Errorf("%+v", n)
	}
	if r, err := f.ledger().Read(ctx, id); err != nil || r.Payload != "{}" || r.Failures != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if lines := f.lines(events.MetaKey(s)); lines[len(lines)-1] != `{"type":"status"}` {
		t.Errorf("%q", lines[len(lines)-1])
	}
}

func TestEmptyStore(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := migrate.Run(t.Context(), db, migrate.Options{Out: &out}); err != nil || !strings.Contains(out.String(), "empty") {
		t.Errorf("%v: %s", err, &out)
	}
	if n := db.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys", n)
	}
}

// It is not parallel: a Cluster takes long to come up on a busy machine.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts six servers")
	}
	c := redistest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Servers[0].Addr}})
	t.Cleanup(func() { client.Close() })
	f := load(t, client)
	n := f.migrate()
	if want := records(t); n.Converted != len(want) || n.Unmatched != 3 {
		t.Errorf("%+v", n)
	} else {
		for id, was := range want {
			if now := f.asked(id); !reflect.DeepEqual(now, was) {
				t.Errorf("%s is\n%v, was\n%v", id, now, was)
			}
		}
	}
	if format, err := f.ledger().Format(t.Context()); err != nil || format != record.Format {
		t.Errorf("format %d, %v", format, err)
	}
}
