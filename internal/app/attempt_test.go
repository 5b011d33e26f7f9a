package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// startWorker runs a worker with the keys of c, and a Meta that accepts all messages. It returns the bodies that Meta
// gets.
func startWorker(t *testing.T, redisURL string, c config.Worker) <-chan []byte {
	t.Helper()
	return startWorkerRefused(t, redisURL, c, "", "")
}

// startWorkerRefused is startWorker with a Meta that refuses the messages that contain text, with status 400 and
// answer. An empty text refuses nothing.
func startWorkerRefused(t *testing.T, redisURL string, c config.Worker, text, answer string) <-chan []byte {
	t.Helper()
	bodies := make(chan []byte, 10)
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/messages") {
			http.NotFound(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if text != "" && strings.Contains(string(body), text) {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, answer)
		} else {
			io.WriteString(w, `{"messages":[{"id":"wamid.1"}]}`)
		}
		bodies <- body
	}))
	t.Cleanup(meta.Close)
	c.Common = config.Common{
		Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}},
		Redis: config.Redis{URL: config.Secret(redisURL)}, Graph: config.Graph{BaseURL: meta.URL, Version: "v25.0"},
	}
	c.Roles, c.MarkerKey, c.Tokens = []string{config.RoleSend}, "0123456789abcdef", config.FixedTokens(map[string]string{number: "token"})
	c.Retry = config.Retry{Base: time.Second, Max: time.Minute, Attempts: 5}
	p, err := app.NewWorker(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	return bodies
}

// TestDirectSendEndsWithItsDeadline: a Direct Send message gives Meta the time until its deadline.
func TestDirectSendEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := "http://" + startProducer(t, srv.URL(), "").Addr()
	bodies := startWorker(t, srv.URL(), config.Worker{})
	expires := time.Now().Add(time.Hour)
	call(t, "POST", api+"/v1/messages", fmt.Sprintf(
		`{"from":%q,"key":"k","expires_at":%q,"message":{"to":"+15551234567","category":"utility","type":"text","text":{"body":"hi"}}}`,
		number, expires.Format(time.RFC3339Nano)), 202)
	var got struct {
		TTL int `json:"ttl_seconds"`
	}
	body := <-bodies
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	// The worker computed it after the order and before now.
	if got.TTL >= 3600 || got.TTL < int(time.Until(expires)/time.Second) {
		t.Errorf("ttl_seconds is %d, with %s left: %s", got.TTL, time.Until(expires), body)
	}
}

// A message whose text was changed in Redis is not sent: it is dead. A replay sends it when its text is again what was
// accepted. A message that was signed with the second key is sent too.
func TestTamperedMessagesAreNotSent(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	p := startProducer(t, srv.URL(), "payload-key-0123456789")
	api, console := "http://"+p.Addr(), "http://"+p.ConsoleAddr()
	var ids []string
	for _, key := range []string{"whole", "tampered", "swapped"} {
		answer := call(t, "POST", api+"/v1/messages", fmt.Sprintf(
			`{"from":%q,"key":%q,"message":{"to":"+15551234567","type":"text","text":{"body":%q}}}`, number, key, "hi "+key), 202)
		ids = append(ids, answer["id"].(string))
	}
	c := srv.Client()
	// payload returns the stored payload of a message, and stores another one in its place.
	payload := func(id, other string) string {
		t.Helper()
		key := store.Key(message.DefaultShards.Of(number), "m:"+id)
		r, err := record.Decode(id, c.Get(t.Context(), key).Val())
		was := r.Payload
		if r.Payload = other; err != nil || other != "" && c.Set(t.Context(), key, r.Encode(), 0).Err() != nil {
			t.Fatal(err)
		}
		return was
	}
	whole, tampered := payload(ids[0], ""), payload(ids[1], "")
	payload(ids[1], strings.Replace(tampered, "hi", "no", 1))
	payload(ids[2], whole)

	bodies := startWorker(t, srv.URL(), config.Worker{PayloadKey: "payload-key-of-tomorrow", SecondPayloadKey: "payload-key-0123456789"})
	want := func(text string) {
		t.Helper()
		if got := string(<-bodies); !strings.Contains(got, `"body":"`+text+`"`) {
			t.Errorf("Meta got %s, want %q", got, text)
		}
	}
	want("hi whole")
	for _, id := range ids[1:] {
		poll.Until(t, "the message is dead", func() bool {
			r := call(t, "GET", api+"/v1/messages/"+id, "", 200)
			return r["state"] == "dead" && r["reason"] == message.ReasonTampered
		})
	}
	payload(ids[1], tampered)
	got := call(t, "POST", console+"/v1/dead-letters/replay", fmt.Sprintf(
		`{"phone_number_id":%q,"message_reason":%q,"actor":"anna","reason":"fixed"}`, number, message.ReasonTampered), 200)
	if got["replayed"] != 2.0 {
		t.Errorf("replayed: %v", got)
	}
	want("hi tampered")
}

// TestUnreadableRecordsStopNoOther: a message whose record cannot be read is not sent, and delays no other. Its task is
// removed, and its record stays.
func TestUnreadableRecordsStopNoOther(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := "http://" + startProducer(t, srv.URL(), "").Addr()
	c := srv.Client()
	key := func(id string) string { return store.Key(message.DefaultShards.Of(number), "m:"+id) }
	var broken []string
	order := func(name string) string {
		t.Helper()
		return call(t, "POST", api+"/v1/messages", fmt.Sprintf(
			`{"from":%q,"key":%q,"message":{"to":"+15551234567","type":"text","text":{"body":%q}}}`, number, name, name), 202)["id"].(string)
	}
	for i, text := range []string{"\xff\xff\xff", `{"state":"queued"}`, "\x08\x63"} {
		id := order(fmt.Sprint("broken", i))
		if err := c.Set(t.Context(), key(id), text, 0).Err(); err != nil {
			t.Fatal(err)
		}
		broken = append(broken, id)
	}
	order("whole")
	bodies := startWorker(t, srv.URL(), config.Worker{})
	if got := string(<-bodies); !strings.Contains(got, `"body":"whole"`) {
		t.Errorf("Meta got %s", got)
	}
	poll.Until(t, "no task is left", func() bool { return len(c.Keys(t.Context(), "asynq:*:t:*").Val()) == 0 })
	for _, id := range broken {
		if c.Exists(t.Context(), key(id)).Val() != 1 {
			t.Errorf("the record of %s is gone", id)
		}
	}
}

// When Meta refuses a message for the pair limit, other messages to the recipient wait too. They delay no other
// recipient.
func TestMessagesToAnExhaustedRecipientWait(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := "http://" + startProducer(t, srv.URL(), "").Addr()
	bodies := startWorkerRefused(t, srv.URL(), config.Worker{}, "first", `{"error":{"code":131056,"message":"pair rate limit hit"}}`)
	order := func(to, text string) {
		t.Helper()
		call(t, "POST", api+"/v1/messages", fmt.Sprintf(
			`{"from":%q,"key":%q,"message":{"to":%q,"type":"text","text":{"body":%q}}}`, number, text, to, text), 202)
	}
	order("+15551234567", "first")
	<-bodies
	c := srv.Client()
	poll.Until(t, "the refused message waits for its recipient", func() bool {
		return len(c.Keys(t.Context(), "sluice:*:waits:*").Val()) > 0
	})
	order("+15551234567", "second")
	order("+15557654321", "other")
	if got := string(<-bodies); !strings.Contains(got, `"body":"other"`) {
		t.Errorf("Meta got %s", got)
	}
}
