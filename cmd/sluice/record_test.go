package main

import (
	"reflect"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// Every member of a record is printed: whatever member is set, the output is another.
func TestRecordPrintsEveryMember(t *testing.T) {
	t.Parallel()
	printed := func(r record.Record) string {
		var out strings.Builder
		w := table{tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)}
		printRecord(w, r)
		printTimeline(w, r.Timeline)
		w.Flush()
		return out.String()
	}
	empty := printed(record.Record{})
	var each func(members reflect.Value, r *record.Record)
	each = func(members reflect.Value, r *record.Record) {
		for i := range members.NumField() {
			f, member := members.Type().Field(i), members.Field(i)
			if f.Anonymous || f.Type == reflect.TypeFor[message.ErrorDetail]() {
				each(member, r)
				continue
			}
			if !f.IsExported() {
				continue
			}
			switch v := member.Addr().Interface().(type) {
			case *time.Time:
				*v = time.Unix(1e9, 0)
			case *[]string:
				*v = []string{"some", "more"}
			case *message.After:
				*v = message.After{ID: "some", State: message.Sent}
			case *[]message.After:
				*v = []message.After{{ID: "some", State: message.Sent}}
			case *[]message.Step:
				*v = []message.Step{{At: time.Unix(1e9, 0), State: message.Queued, Reason: "some"}}
			default:
				switch member.Kind() {
				case reflect.String:
					member.SetString("some text that is set")
				case reflect.Bool:
					member.SetBool(true)
				case reflect.Int:
					member.SetInt(17)
				default:
					t.Fatalf("a member %s of an unknown type %s", f.Name, f.Type)
				}
			}
			got := printed(*r)
			if got == empty {
				t.Errorf("%s is not printed", f.Name)
			}
			if private := f.Name == "Payload" || f.Name == "Other" || f.Name == "Recipient" || f.Name == "To"; private && strings.Contains(got, "some text") {
				t.Errorf("%s is printed:\n%s", f.Name, got)
			}
			member.SetZero()
		}
	}
	var r record.Record
	each(reflect.ValueOf(&r).Elem(), &r)
}

func TestRecordOnRedis(t *testing.T) {
	t.Chdir(t.TempDir()) // no sluice.yaml here
	const number = "106540352242922"
	ctx, url := t.Context(), redistest.Start(t).URL()
	db, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	book := ledger.New(db, ledger.Options{})
	m := message.Message{
		ID: message.NewID(number, "key"), From: number, Class: message.Utility, Hash: "hash", Ref: "order-1",
		ExpiresAt: time.Now().Add(time.Hour), Payload: []byte(`{"text":{"body":"a secret"}}`), Content: message.Content{Type: "text", To: "+4915123456789"},
	}
	if r := book.Accept(ctx, []ledger.Accepting{{Message: m, Enqueue: func(*store.Writes, time.Time) error { return nil }}}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	show := func(id string) (string, error) {
		var out strings.Builder
		err := recordCmd{ID: id}.run(ctx, env("SLUICE_REDIS_URL", url), &out)
		return strings.Join(strings.Fields(out.String()), " "), err
	}
	shows := func(want ...string) {
		t.Helper()
		got, err := show(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("there is no %q in\n%s", w, got)
			}
		}
		if strings.Contains(got, "secret") || strings.Contains(got, "123456") {
			t.Errorf("private:\n%s", got)
		}
	}
	shows("id "+m.ID, "state queued", "to +49***89", "ref order-1", "payload 28 bytes", "format 2", "list waiting, ordered by", "in Redis in the right list", "TIME STATE", "queued 0 0")

	waiting := store.Key(message.DefaultShards.Of(number), string(message.ListWaiting))
	db.ZRem(ctx, waiting, m.ID)
	shows("in Redis DIFFERENT: in no list")
	db.ZAdd(ctx, waiting, redis.Z{Score: 1e12, Member: m.ID})
	db.ZAdd(ctx, store.Key(message.DefaultShards.Of(number), string(message.ListAwaiting)), redis.Z{Score: 1e12, Member: m.ID})
	shows("in Redis DIFFERENT: waiting, ordered by 2001-09-0", "; awaiting, ordered by 2001-09-0")

	if _, err := show(message.NewID(number, "none")); err == nil || !strings.Contains(err.Error(), "message not found") {
		t.Errorf("no record: %v", err)
	}
}
