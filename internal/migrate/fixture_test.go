package migrate_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/migrate"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// The fixture is a store that programs of format 1 made: see testdata/fixture.go.txt.
const (
	normal = "106540300000000" // most of its messages were sent
	held   = "106540300000001"
	hangs  = "106540300000008" // its attempts were under way when the worker was killed

	shards = message.DefaultShards
)

// fixture is a store of format 1 that the test has loaded.
type fixture struct {
	t  *testing.T
	db *store.DB
}

func setup(t *testing.T) fixture {
	t.Helper()
	return load(t, redistest.Client(t))
}

// load runs the commands of the fixture.
func load(t *testing.T, c redis.UniversalClient) fixture {
	t.Helper()
	return loadText(t, c, unzip(t, "store.txt.gz"))
}

func loadText(t *testing.T, c redis.UniversalClient, text string) fixture {
	t.Helper()
	_, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for line := range strings.Lines(text) {
			command := words(t, line)
			if command[0] == "pexpire" { // on a slow machine nothing expires before the test compares it
				ms, err := strconv.Atoi(command[2].(string))
				if err != nil {
					return err
				}
				command[2] = max(ms, int(time.Hour/time.Millisecond))
			}
			p.Do(t.Context(), command...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{t, db}
}

func unzip(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// words reads a line of quoted words.
func words(t *testing.T, line string) (all []any) {
	t.Helper()
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimPrefix(line, " ") {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatal(err)
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		all, line = append(all, word), line[len(quoted):]
	}
	return all
}

// records are what the API said of each message before, by id.
func records(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for line := range strings.Lines(unzip(t, "records.jsonl.gz")) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		delete(r, "error")               // explains the code
		r["phone_number_id"] = r["from"] // its name in the API that the fixture was asked of
		delete(r, "from")
		r["final"] = message.State(r["state"].(string)).Final() // the API did not say it then
		all[r["id"].(string)] = r
	}
	return all
}

// asked returns what the API says of a message now.
func (f fixture) asked(id string) map[string]any {
	f.t.Helper()
	in := intake.New(intake.Options{
		Acceptor: noAcceptor{}, Reader: f.ledger(), Numbers: func(string) bool { return true },
		Keys: httpapi.FixedKeys(httpapi.Key{Name: "test", Hash: httpapi.HashToken(token), Scopes: httpapi.Scopes(), Numbers: []string{httpapi.AllNumbers}}),
	})
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/messages/"+id, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	in.Handler().ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 {
		f.t.Fatalf("%s: %d %s", id, w.Code, w.Body)
	}
	delete(answer, "error") // explains the code
	return answer
}

type noAcceptor struct{}

func (noAcceptor) Accept(context.Context, message.Message) (message.Acceptance, error) {
	return message.Acceptance{}, errors.New("not here")
}

func (noAcceptor) AcceptAll(context.Context, []message.Message) []message.AcceptResult { return nil }

func (noAcceptor) Repeats(context.Context, []message.Message) ([]string, error) { return nil, nil }

func (f fixture) ledger() *ledger.Ledger { return ledger.New(f.db, ledger.Options{}) }

func (f fixture) migrate() migrate.Counts {
	f.t.Helper()
	n, err := migrate.Run(f.t.Context(), f.db, migrate.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// dump is all that the store holds, by key. What follows from the time of the migration is left out.
func (f fixture) dump() map[string]string {
	f.t.Helper()
	all := map[string]string{}
	ctx := f.t.Context()
	for _, key := range f.db.Keys(ctx, "*").Val() {
		var v any
		switch kind := f.db.Type(ctx, key).Val(); kind {
		case "string":
			v = f.db.Get(ctx, key).Val()
		case "hash":
			h := f.db.HGetAll(ctx, key).Val()
			if strings.Contains(key, "}:t:") {
				delete(h, "pending_since")
			}
			v = h
		case "list":
			v = f.db.LRange(ctx, key, 0, -1).Val()
		case "set":
			v = f.db.SMembersMap(ctx, key).Val()
		case "zset":
			v = f.db.ZRangeWithScores(ctx, key, 0, -1).Val()
			if strings.Contains(key, ":orphans") {
				v = f.db.ZCard(ctx, key).Val()
			}
		case "stream":
			v = f.lines(key)
		}
		if strings.Contains(key, "}:ended:") || strings.Contains(key, "}:pair:") { // lists of hours; some seconds
			continue
		}
		all[key] = fmt.Sprint(v)
	}
	return all
}

// lines are the events of a stream, in their order.
func (f fixture) lines(key string) (all []string) {
	f.t.Helper()
	for _, x := range f.db.XRange(f.t.Context(), key, "-", "+").Val() {
		text, _ := x.Values[events.Field].(string)
		if text == "" {
			text = fmt.Sprint(x.Values)
		}
		all = append(all, strings.Split(text, "\n")...)
	}
	return all
}

// hashes are the records in the old format, each with its payload.
func (f fixture) hashes() map[string]map[string]string {
	f.t.Helper()
	all := map[string]map[string]string{}
	for id := range records(f.t) {
		number, _ := message.Number(id)
		s := shards.Of(number)
		all[id] = f.db.HGetAll(f.t.Context(), store.Key(s, "m:"+id)).Val()
		all[id]["payload"] = f.db.Get(f.t.Context(), store.Key(s, "p:"+id)).Val()
	}
	return all
}
