package app_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// TestMoveByState: which messages of a removed number another number sends. Those of which Meta may have taken an attempt, and those that
// depend on their number, are sent by their number or not at all. A repeat of a moved message is answered although the quota is used up.
func TestMoveByState(t *testing.T) {
	t.Parallel()
	const from, to = "100000000000001", "100000000000002"
	// What Meta gets from which numbers, by message.
	want := map[string][]string{
		"waits": {to}, "tagged": nil, "scheduled": nil, "throttled": {from, to}, // they move
		"in flight": {from}, "in doubt": {from}, "not sent": {from, from}, "text": {from},
	}
	names := slices.Sorted(maps.Keys(want))
	var mu sync.Mutex
	got, byRecipient := map[string][]string{}, map[string]string{}
	release := make(chan struct{})
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.Split(r.URL.Path, "/")
		if path[len(path)-1] != "messages" {
			http.NotFound(w, r)
			return
		}
		var body struct{ To string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		number := path[len(path)-2]
		mu.Lock()
		name := byRecipient[body.To]
		first := len(got[name]) == 0
		if first || name != "throttled" || number == to {
			got[name] = append(got[name], number)
		}
		mu.Unlock()
		switch {
		case name == "in flight":
			<-release
		case first && slices.Contains([]string{"in doubt", "not sent"}, name):
			panic(http.ErrAbortHandler)
		case name == "throttled" && number == from:
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":{"code":131056,"message":"pair rate limit"}}`)
			return
		}
		fmt.Fprintf(w, `{"messages":[{"id":"wamid.%s"}]}`, strings.ReplaceAll(name, " ", ""))
	}))
	t.Cleanup(meta.Close)
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)

	srv := redistest.Start(t)
	common := config.Common{
		Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
		Redis: config.Redis{URL: config.Secret(srv.URL())}, Graph: config.Graph{BaseURL: meta.URL, Version: "v25.0"},
		Numbers: []config.Number{{ID: from, Rate: 80, Client: "acme"}, {ID: to, Rate: 80, Client: "acme"}},
		Clients: []config.Client{{Name: "acme", Quotas: config.Quotas{Quota: config.Quota{PerMonth: len(want)}}}},
	}
	log := slog.New(slog.DiscardHandler)
	producer, err := app.NewProducer(t.Context(), config.Producer{
		Common: common, Listen: "127.0.0.1:0", Console: "127.0.0.1:0",
		APIKeys: []config.APIKey{{Name: "verbs", SHA256: sha256.Sum256([]byte("verbs")), Numbers: []string{"*"}, Scopes: config.Scopes()}},
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	run(t, producer)
	api, console := "http://"+producer.Addr()+"/v1/messages", "http://"+producer.ConsoleAddr()+"/v1"
	worker, err := app.NewWorker(t.Context(), config.Worker{
		Common: common, Roles: []string{config.RoleSend}, MarkerKey: "0123456789abcdef",
		Tokens: config.FixedTokens(map[string]string{from: "token", to: "token"}), Retry: config.Retry{Base: time.Second, Max: time.Minute, Attempts: 5},
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	run(t, worker)
	if err := srv.Client().HSet(t.Context(), "sluice:accounts", from, "900", to, "900").Err(); err != nil {
		t.Fatal(err)
	}

	const signed = `"actor":"anna","reason":"a test"`
	request := func(number, name, more string) string {
		mu.Lock()
		defer mu.Unlock()
		recipient := fmt.Sprintf("+1555123%04d", slices.Index(names, name))
		byRecipient[recipient] = name
		content := `"type":"template","template":{"name":"sale","language":{"code":"en_US"}}`
		if name == "text" {
			content = `"type":"text","text":{"body":"hi"}`
		}
		return fmt.Sprintf(`{"from":%q,"key":%q%s,"message":{"to":%q,%s}}`, number, name, more, recipient, content)
	}
	ids := map[string]string{}
	post := func(name, more string) {
		t.Helper()
		ids[name], _ = call(t, "POST", api, request(from, name, more), 202)["id"].(string)
	}
	get := func(id string) map[string]any { return call(t, "GET", api+"/"+id, "", 200) }
	is := func(states map[string]string) bool {
		for name, state := range states {
			if get(ids[name])["state"] != state {
				return false
			}
		}
		return true
	}
	post("throttled", `,"class":"utility"`)
	post("not sent", `,"class":"utility"`)
	post("in doubt", `,"class":"marketing"`)
	poll.Until(t, "the attempts have their outcomes", func() bool {
		return is(map[string]string{"not sent": "in_doubt", "in doubt": "in_doubt"}) && get(ids["throttled"])["code"] == 131056.
	})
	post("in flight", `,"class":"utility"`)
	poll.Until(t, "a request is on its way", func() bool { return is(map[string]string{"in flight": "attempting"}) })

	call(t, "POST", console+"/holds", `{"phone_number_id":"`+from+`",`+signed+`}`, 200)
	call(t, "POST", console+"/holds", `{"tag":"spring",`+signed+`}`, 200)
	call(t, "POST", console+"/in-doubt/"+ids["not sent"]+"/resolve", `{"resolution":"not-sent",`+signed+`}`, 200)
	sendAt := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	post("waits", `,"class":"utility"`)
	post("tagged", `,"class":"utility","tags":["spring"]`)
	post("scheduled", `,"class":"utility","send_at":"`+sendAt+`"`)
	post("text", `,"class":"utility"`)

	number := func() map[string]any {
		all, _ := call(t, "GET", console+"/numbers?phone_number_id="+from, "", 200)["numbers"].([]any)
		if len(all) == 0 {
			return nil
		}
		return all[0].(map[string]any)
	}
	call(t, "POST", console+"/numbers/"+from+"/remove", `{"backlog":"move","to":"`+to+`",`+signed+`}`, 200)
	if n := number(); n["leaving"] != "move" || n["leaving_to"] != to || n["messages_left"] != float64(len(want)) {
		t.Errorf("%v", n)
	}
	next := map[string]map[string]any{}
	for _, name := range []string{"waits", "tagged", "scheduled", "throttled"} {
		poll.Until(t, name+" is moved", func() bool { return is(map[string]string{name: "cancelled"}) })
		old := get(ids[name])
		id, _ := old["moved_to"].(string)
		if next[name] = get(id); old["reason"] != "moved" || next[name]["moved_from"] != ids[name] {
			t.Errorf("%s: %v\n%v", name, old, next[name])
		}
	}
	stay := map[string]string{"in flight": "attempting", "in doubt": "in_doubt", "not sent": "queued", "text": "queued"}
	if n := number(); !is(stay) || n["messages_left"] != float64(len(stay)) {
		t.Errorf("those that stay have changed; %v", n)
	}
	if at, _ := next["scheduled"]["send_at"].(string); !strings.HasPrefix(at, strings.TrimSuffix(sendAt, "Z")) {
		t.Errorf("scheduled for %s, want %s", at, sendAt)
	}
	if again := call(t, "POST", api, request(to, "waits", `,"class":"utility"`), 200); again["duplicate"] != true || again["id"] != next["waits"]["id"] {
		t.Errorf("%v", again)
	}
	call(t, "POST", api, request(to, "text", ""), 429)

	letGo()
	call(t, "POST", console+"/holds/release", `{"phone_number_id":"`+from+`",`+signed+`}`, 200)
	poll.Until(t, "all that can be sent are sent", func() bool {
		for _, name := range []string{"waits", "throttled"} {
			if get(next[name]["id"].(string))["state"] != "submitted" {
				return false
			}
		}
		return is(map[string]string{"in flight": "submitted", "not sent": "submitted", "text": "submitted"})
	})
	call(t, "POST", console+"/in-doubt/"+ids["in doubt"]+"/resolve", `{"resolution":"sent",`+signed+`}`, 200)
	poll.Until(t, "the number is removed", func() bool { return number() == nil })
	for name, path := range map[string]string{"scheduled": api, "tagged": console + "/messages"} { // tagged: its tag is held
		id, _ := next[name]["id"].(string)
		if state := get(id)["state"]; state != "queued" {
			t.Errorf("%s is %v", name, state)
		}
		body := ""
		if name == "tagged" {
			body = `{` + signed + `}`
		}
		if answer := call(t, "POST", path+"/"+ids[name]+"/cancel", body, 200); answer["state"] != "cancelled" || get(id)["state"] != "cancelled" {
			t.Errorf("%s, cancelled by the id of the old message: %v, %v", name, answer, get(id))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for name, numbers := range want {
		if !slices.Equal(got[name], numbers) {
			t.Errorf("%s: Meta got it from %v, want %v", name, got[name], numbers)
		}
	}
}
