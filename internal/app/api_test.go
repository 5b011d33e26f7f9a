package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/admission"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const number = "106540352242922"

// fixture accepts messages into a Redis of its own, without HTTP.
type fixture struct {
	*admission.Loader
	db      *store.DB
	records *ledger.Ledger
}

// newFixture returns a fixture whose servers allow attempts.
func newFixture(t *testing.T, c redis.UniversalClient) fixture {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	records := ledger.New(db, ledger.Options{})
	for _, s := range message.DefaultShards.All() {
		run, err := records.CurrentEpoch(t.Context(), s)
		if err == nil {
			err = records.BeginEpoch(t.Context(), s, run.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return fixture{admission.NewLoader(db, message.DefaultShards), db, records}
}

// ask sends a request and returns the status and the JSON of the answer.
func ask(t *testing.T, method, url, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer verbs")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %d %v", method, url, resp.StatusCode, err)
	}
	return resp.StatusCode, answer
}

// call is ask for a request whose status must be want.
func call(t *testing.T, method, url, body string, want int) map[string]any {
	t.Helper()
	status, answer := ask(t, method, url, body)
	if status != want {
		t.Fatalf("%s %s: %d %v, want %d", method, url, status, answer, want)
	}
	return answer
}

// startProducer runs a producer until the test ends. Its API key is "verbs" and has all scopes.
func startProducer(t *testing.T, redisURL, payloadKey string, more ...config.Number) *app.Program {
	t.Helper()
	key := config.APIKey{Name: "verbs", SHA256: sha256.Sum256([]byte("verbs")), Numbers: []string{"*"}, Scopes: config.Scopes()}
	p, err := app.NewProducer(t.Context(), config.Producer{
		Common: config.Common{
			Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: append(more, config.Number{ID: number, Rate: 80}),
			Redis: config.Redis{URL: config.Secret(redisURL)}, Graph: config.Graph{BaseURL: "http://127.0.0.1:1"},
		},
		Listen: "127.0.0.1:0", Console: "127.0.0.1:0", APIKeys: []config.APIKey{key}, PayloadKey: config.Secret(payloadKey),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	return p
}

// run runs a program until the test ends.
func run(t *testing.T, p *app.Program) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestVerbsEndToEnd: requests to both listeners of a producer with a real Redis change the records, and a message
// that is sent again gets a task.
func TestVerbsEndToEnd(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	p := startProducer(t, srv.URL(), "")
	api, console := "http://"+p.Addr(), "http://"+p.ConsoleAddr()
	f := newFixture(t, srv.Client())
	const signed = `"actor":"anna","reason":"because"`

	// send accepts a message, and try ends its first attempt with an outcome.
	send := func(key string) string {
		id, _ := call(t, "POST", api+"/v1/messages", fmt.Sprintf(
			`{"from":%q,"key":%q,"ref":"order-1","tags":["spring"],"message":{"to":"+4915123456789","type":"text","text":{"body":"hi"}}}`, number, key), 202)["id"].(string)
		return id
	}
	try := func(id string, m message.Move) {
		a, err := f.records.Begin(t.Context(), id, 0, "w/1", nil)
		if err == nil {
			_, _, err = f.records.Finish(t.Context(), a, m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tasks := func() string {
		shard := message.DefaultShards.Of(number)
		ids, err := f.db.LRange(t.Context(), "asynq:{"+shard.String()+"}:"+number+":service}:pending", 0, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(ids, " ")
	}
	explain := func(id string) map[string]any { return call(t, "GET", api+"/v1/messages/"+id+"/explain", "", 200) }

	first, second, third := send("1"), send("2"), send("3")
	if e := explain(third); e["rule"] != "queue" || e["ahead"] != 2. {
		t.Errorf("third: %v", e)
	}
	call(t, "POST", console+"/v1/holds", `{"tag":"spring",`+signed+`}`, 200)
	if e := explain(third); e["rule"] != "hold" || e["until"] != nil || !strings.Contains(e["detail"].(string), "(tag spring): because") {
		t.Errorf("held: %v", e)
	}
	if all := call(t, "GET", console+"/v1/holds", "", 200)["holds"].([]any); len(all) != 1 {
		t.Errorf("holds: %v", all)
	}
	call(t, "POST", console+"/v1/holds/release", `{"tag":"spring",`+signed+`}`, 200)
	if e := explain(third); e["rule"] != "queue" {
		t.Errorf("released: %v", e)
	}

	for range 2 {
		if got := call(t, "POST", api+"/v1/messages/"+third+"/cancel", "", 200); got["state"] != "cancelled" {
			t.Errorf("cancelled: %v", got)
		}
	}
	if all := call(t, "GET", api+"/v1/messages?phone_number_id="+number+"&ref=order-1", "", 200)["messages"].([]any); len(all) != 3 {
		t.Errorf("by reference: %v", all)
	}

	try(first, message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute})
	if e := explain(first); e["rule"] != "in_doubt" || e["then"] != "park" {
		t.Errorf("in doubt: %v", e)
	}
	call(t, "POST", api+"/v1/messages/"+first+"/cancel", "", 409)
	if all := call(t, "GET", console+"/v1/in-doubt?phone_number_id="+number, "", 200)["messages"].([]any); len(all) != 1 {
		t.Errorf("in-doubt messages: %v", all)
	}
	for range 2 {
		if got := call(t, "POST", console+"/v1/in-doubt/"+first+"/resolve", `{"resolution":"not-sent",`+signed+`}`, 200); got["state"] != "queued" {
			t.Errorf("resolved: %v", got)
		}
	}
	if got := tasks(); !strings.HasPrefix(got, first+".1 ") || strings.Count(got, first) != 2 {
		t.Errorf("tasks %q: want a second one of %s at the end", got, first)
	}

	try(second, message.Move{To: message.Dead, Code: 131000, Reason: message.ReasonAttempts, Keep: true})
	if got := call(t, "GET", console+"/v1/dead-letters?code=131000", "", 200); got["count"] != 1. {
		t.Errorf("dead: %v", got)
	}
	for want := 1.; want >= 0; want-- {
		if got := call(t, "POST", console+"/v1/dead-letters/replay", `{"phone_number_id":"`+number+`","code":131000,`+signed+`}`, 200); got["replayed"] != want {
			t.Errorf("replayed: %v, want %v", got, want)
		}
	}
	if got := tasks(); !strings.HasPrefix(got, second+".1 ") {
		t.Errorf("tasks %q: want one of %s at the end", got, second)
	}
	r := call(t, "GET", api+"/v1/messages/"+second, "", 200)
	steps := r["timeline"].([]any)
	if last := steps[len(steps)-1].(map[string]any); r["state"] != "queued" || last["reason"] != "replayed by anna: because" {
		t.Errorf("replayed: %v", r)
	}

	fourth, fifth := send("4"), send("5")
	for _, id := range []string{fourth, fifth} {
		try(id, message.Move{To: message.Rejected, Code: 131047, Keep: true})
	}
	of := `{"phone_number_id":"` + number + `","state":"rejected","tag":"spring","rate":1,` + signed + `}`
	if got := call(t, "GET", console+"/v1/undelivered?phone_number_id="+number+"&state=rejected&tag=spring&code=131047", "", 200); got["resendable"] != 2. || got["overdue"] != 0. {
		t.Errorf("ended: %v", got)
	}
	for want := 2.; want >= 0; want -= 2 {
		if got := call(t, "POST", console+"/v1/undelivered/resend", of, 200); got["resent"] != want {
			t.Errorf("sent again: %v, want %v", got, want)
		}
	}
	if got := tasks(); !strings.HasPrefix(got, fourth+".1 ") || strings.Contains(got, fifth+".1") {
		t.Errorf("tasks %q: want one of %s at the end, and none yet of %s", got, fourth, fifth)
	}
	if e := explain(fifth); e["rule"] != "scheduled" {
		t.Errorf("to be sent again a second later: %v", e)
	}

	var log bytes.Buffer
	for _, d := range call(t, "GET", console+"/v1/audit", "", 200)["entries"].([]any) {
		entry := d.(map[string]any)
		fmt.Fprintf(&log, "%v %v by %v with %v; ", entry["action"], entry["target"], entry["actor"], entry["api_key_name"])
	}
	for _, want := range []string{
		"hold tag spring by anna with verbs;", "release tag spring by anna with verbs;",
		"not-sent " + first + " by anna with verbs;", "replay up to 1 dead letters of number " + number + " by anna with verbs;",
		"resend up to 2 messages of number " + number + ", state rejected, tag spring by anna with verbs;",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the audit log %q has no %q", &log, want)
		}
	}
	if n := strings.Count(log.String(), ";"); n != 5 {
		t.Errorf("%d entries in the audit log: %s", n, &log)
	}
}
