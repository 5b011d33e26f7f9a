package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/client"
	"sluice/internal/archive"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// TestDeletePerson: after the data of a person was deleted, no key of Redis has the phone number or its keyed hash, apart from those that end
// within a day, and no schedule sends to the person. Before it, all parts that keep something have some. So a new key with data of a person
// must be part of a deletion, or end soon.
func TestDeletePerson(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{}, "secrets_key_file: marker", "clients: [{name: shop, frequency_caps: [{messages: 3, within: 24h}]}]")
	w.worker()
	ctx, number := t.Context(), numbers[0]
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"client":"shop","customer_service_window":"refuse","auto_reply":{"api_key":"e2e","welcome":"Welcome!"}`, number))
	const phone = "15559990001"
	writes := func(from string) {
		w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":"hello"}`, from, number))
	}
	n := 0
	poll.Until(t, "a producer knows the settings", func() bool { // messages from before are not answered
		n++
		writes(fmt.Sprintf("1555123%04d", n))
		return len(w.sim.Accepted()) > 0
	})
	writes(phone)
	poll.Until(t, "the welcome text", func() bool {
		return slices.ContainsFunc(w.sim.Accepted(), func(a graphsim.Accepted) bool { return a.To == phone })
	})
	var ids []string
	for r, err := range w.api.List(ctx, client.ListOptions{Tag: "auto-reply"}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	a, err := w.api.Send(ctx, client.Message{From: number, Class: client.ClassMarketing, Key: "k", Ref: "r", Content: client.Text("+"+phone, "Hello")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.api.SetSchedule(ctx, "report", client.ScheduleOrder{
		ScheduleTiming: client.ScheduleTiming{At: []string{"09:00"}}, Request: client.Message{From: number, Content: client.Text("+"+phone, "Hello")},
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.redis.admin.XAdd(ctx, &redis.XAddArgs{Stream: store.Key(0, "quarantine"), Values: []string{"body", `{"from":"` + phone}}).Err(); err != nil {
		t.Fatal(err)
	}
	w.settled(append(ids, a.ID), func(r client.Record) bool { return r.State == client.StateDelivered })

	hash := secrets.Hasher("e2e-marker-key-0123456789", archive.RecipientPurpose)(phone)
	traces := func() (all []string) {
		for key, text := range everything(t, ctx, w.redis.admin) {
			for _, name := range []string{phone, hash, hex.EncodeToString([]byte(hash))} {
				if strings.Contains(key+text, name) {
					all = append(all, key)
					break
				}
			}
		}
		return all
	}
	has := func(all []string, part string) bool {
		return slices.ContainsFunc(all, func(key string) bool { return strings.Contains(key, part) })
	}
	poll.Until(t, "all parts have stored something", func() bool {
		before := traces()
		for _, part := range []string{":m:", ":windows:", ":replies:met:", ":replies:sent:", "sluice:sent:", ":quarantine"} {
			if !has(before, part) {
				return false
			}
		}
		return true
	})
	who := fmt.Sprintf(`"recipient":"+%s"`, phone)
	export := w.operate("POST", "/v1/people/export", `{`+who+`,"actor":"anna","reason":"test"}`)
	if len(export["schedules"].([]any)) != 1 || len(export["others"].([]any)) < 4 {
		t.Errorf("export: %v", export)
	}
	done := w.operate("POST", "/v1/people/delete", `{`+who+`,"actor":"anna","reason":"test"}`)
	if fmt.Sprint(done["schedules"]) != "[map[name:report]]" || done["deleted"] != 2.0 || done["remaining"] != 0.0 {
		t.Errorf("delete: %v", done)
	}
	for _, key := range traces() {
		if !strings.Contains(key, ":events:message") && !strings.Contains(key, ":events:meta") && !strings.Contains(key, ":pairs:") {
			t.Errorf("%s still has data of the person", key)
		}
	}
	if all, err := w.api.Schedules(ctx); err != nil || len(all) != 0 {
		t.Errorf("schedules: %v, %v", all, err)
	}
	if show := w.operate("POST", "/v1/people/show", `{`+who+`}`); show["other_entries"] != 0.0 || show["schedule_count"] != 0.0 || len(show["messages"].(map[string]any)) != 0 {
		t.Errorf("show: %v", show)
	}
}

// everything returns what each key of Redis has, as one text.
func everything(t *testing.T, ctx context.Context, r redis.UniversalClient) map[string]string {
	t.Helper()
	all := map[string]string{}
	for keys := r.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		switch kind := r.Type(ctx, key).Val(); kind {
		case "string":
			all[key] = r.Get(ctx, key).Val()
		case "hash":
			all[key] = fmt.Sprint(r.HGetAll(ctx, key).Val())
		case "list":
			all[key] = strings.Join(r.LRange(ctx, key, 0, -1).Val(), "\n")
		case "set":
			all[key] = strings.Join(r.SMembers(ctx, key).Val(), "\n")
		case "zset":
			all[key] = strings.Join(r.ZRange(ctx, key, 0, -1).Val(), "\n")
		case "stream":
			for _, e := range r.XRange(ctx, key, "-", "+").Val() {
				all[key] += fmt.Sprint(e.Values)
			}
		}
	}
	return all
}
