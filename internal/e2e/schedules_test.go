package e2e

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// TestSchedule: two producers have a schedule whose tick is due. It is one message at Meta, with the key that the documentation names, and is
// counted once.
func TestSchedule(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{}, "secrets_key_file: marker")
	w.worker()
	c, err := config.LoadProducer([]string{"--config", w.config}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.Ops, c.Console = "127.0.0.1:0", "127.0.0.1:0", ""
	second := w.start(app.NewProducer(t.Context(), c, slog.New(slog.DiscardHandler)))
	ctx := t.Context()
	now := time.Now().UTC()
	s, err := w.api.SetSchedule(ctx, "report", client.ScheduleOrder{
		ScheduleTiming: client.ScheduleTiming{At: []string{now.Add(-2 * time.Hour).Format("15:04")}}, Request: client.Message{From: numbers[0], Content: client.Text("+15551230001", "Hello")},
	})
	if err != nil || len(s.Next) != 5 || !s.Next[0].After(now) {
		t.Fatalf("%+v, %v", s, err)
	}

	// The tick becomes due now, instead of tomorrow.
	tick := now.Truncate(time.Second)
	key, box := store.Key(0, "schedules"), secrets.New(string(c.SecretsKey), "")
	text, err := box.Decrypt("schedule /report", w.redis.admin.HGet(ctx, key, "/report").Val())
	var entry map[string]any
	if err == nil {
		err = json.Unmarshal([]byte(text), &entry)
	}
	if err != nil {
		t.Fatal(err)
	}
	entry["next"] = tick
	changed, _ := json.Marshal(entry)
	if text, err = box.Encrypt("schedule /report", string(changed)); err != nil {
		t.Fatal(err)
	}
	_, err = w.redis.admin.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, key, "/report", text)
		p.ZAdd(ctx, key+":due", redis.Z{Score: float64(tick.UnixMilli()), Member: "/report"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	poll.Until(t, "the tick is accepted", func() bool {
		s, err = w.api.Schedule(ctx, "report")
		return err == nil && s.Last != nil
	})
	if s.Last.Result != "accepted" || !s.Last.At.Equal(tick) {
		t.Fatalf("%+v", s.Last)
	}
	if r := w.settled([]string{s.Last.MessageID}, over)[s.Last.MessageID]; r.State != client.StateDelivered {
		t.Errorf("the message is %s: %s", r.State, r.Reason)
	}
	a, err := w.api.Send(ctx, client.Message{From: numbers[0], Key: "schedule:/report:" + tick.Format(time.RFC3339), Content: client.Text("+15551230001", "Hello")})
	if err != nil || !a.Duplicate || a.ID != s.Last.MessageID {
		t.Errorf("%+v, %v: another message has the key of the tick", a, err)
	}
	if n := len(w.sim.Accepted()); n != 1 {
		t.Errorf("Meta took %d messages", n)
	}
	counted := 0
	for _, addr := range []string{w.ops["producer"], second.OpsAddr()} {
		r, err := http.Get("http://" + addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		counted += strings.Count(string(text), "\nsluice_schedule_ticks_total{result=\"accepted\"} 1\n")
	}
	if counted != 1 {
		t.Errorf("%d producers counted the tick", counted)
	}
}
