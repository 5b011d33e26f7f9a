package holds_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	shards = message.DefaultShards
	phone  = "106540352242922"
)

// setup returns a Redis, the holds in it, and what they log.
func setup(t *testing.T) (*store.DB, *holds.Store, *bytes.Buffer) {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	return db, holds.New(db, shards, slog.New(slog.NewTextHandler(&log, nil))), &log
}

// TestTheLongerHoldStays: a hold that ends sooner does not shorten one that is there, and says so.
func TestTheLongerHoldStays(t *testing.T) {
	t.Parallel()
	_, hs, _ := setup(t)
	in := func(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Millisecond) }
	for i, tt := range []struct {
		until time.Time
		wins  bool
	}{
		{in(-time.Hour), true},
		{in(time.Hour), true},
		{in(time.Minute), false},
		{in(2 * time.Hour), true},
		{time.Time{}, true},
		{in(3 * time.Hour), false},
		{time.Time{}, false},
	} {
		reason := fmt.Sprint("reason ", i)
		h, err := hs.Set(t.Context(), message.Hold{Tag: "spring", Reason: reason, By: "anna", Until: tt.until})
		if err != nil || (h.Reason == reason) != tt.wins {
			t.Errorf("%d, until %s: %q is in force, %v", i, tt.until, h.Reason, err)
		}
	}
	list, err := hs.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Reason != "reason 4" || list[0].Tag != "spring" || list[0].Number != "" {
		t.Errorf("listed %+v, %v", list, err)
	}
}

// TestCampaignHoldIsReadBack: a hold on a campaign keeps the client, the campaign and the number, and applies to their messages only.
func TestCampaignHoldIsReadBack(t *testing.T) {
	t.Parallel()
	_, hs, log := setup(t)
	of := func(number, client, campaign string) message.Hold {
		return message.Hold{Number: number, Client: client, Campaign: campaign, By: "anna", Reason: "price"}
	}
	want := []message.Hold{of("", "", "spring"), of("", "acme", "a: 50/50"), of(phone, "", "spring"), of(phone, "acme", "spring")}
	for i, h := range want {
		got, err := hs.Set(t.Context(), h)
		if want[i].Since = got.Since; err != nil || got != want[i] {
			t.Errorf("set %+v, %v, want %+v", got, err, want[i])
		}
	}
	if list, err := hs.List(t.Context()); err != nil || !slices.Equal(list, want) {
		t.Errorf("listed %+v, %v, want %+v", list, err, want)
	}
	for f, held := range map[message.Flow][]message.Hold{
		{Campaign: "spring"}:                   {want[0], want[2]},
		{Client: "acme", Campaign: "spring"}:   {want[3]},
		{Client: "acme", Campaign: "a: 50/50"}: {want[1]},
		{Client: "globex", Campaign: "spring"}: nil,
		{Client: "acme"}:                       nil,
	} {
		if on, err := hs.On(t.Context(), message.Context{From: phone, Client: f.Client, Campaign: f.Campaign, Tags: []string{"spring"}}); err != nil || !slices.Equal(on, held) {
			t.Errorf("%s is held by %+v, %v, want %+v", f, on, err, held)
		}
	}
	if ok, err := hs.Release(t.Context(), of(phone, "acme", "spring")); !ok || err != nil {
		t.Errorf("released: %t, %v", ok, err)
	}
	if list, err := hs.List(t.Context()); err != nil || !slices.Equal(list, want[:3]) || log.Len() > 0 {
		t.Errorf("then listed %+v, %v, want %+v; logged %s", list, err, want[:3], log)
	}
}

// TestAHoldThatCannotBeRead: it stays in force, as the scripts see it, is listed with what its name says of it,
// and hides no other hold. It can be released and set again.
func TestAHoldThatCannotBeRead(t *testing.T) {
	t.Parallel()
	db, hs, log := setup(t)
	good := message.Hold{Number: phone, Tag: "good", By: "anna", Reason: "quality"}
	if _, err := hs.Set(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	for name, value := range map[string]string{
		"template:" + phone + ":sale/en_US":    "0 {",
		"number:" + phone:                      "what is this",
		"tag:" + phone + ":spring: 50% off":    fmt.Sprint(soon.UnixMilli(), ` ["reason"]`),
		"tag:" + phone + ":over":               "1000 {",
		"campaign::/autumn":                    "0 {",
		"campaign:" + phone + ":acme/a: 50/50": `0 {"number":"` + phone + `","client":"globex","campaign":"a: 50/50","by":"anna","reason":"quality"}`,
		"tag:" + phone + ":another":            `0 {"number":"` + phone + `","tag":"not this","by":"anna","reason":"quality"}`,
	} {
		if err := db.HSet(t.Context(), holds.Key(shards.Of(phone)), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	list, err := hs.List(t.Context())
	for _, h := range list {
		got = append(got, h.On())
		if holds.Unreadable(h) == (h.Tag == "good") {
			t.Errorf("%s: unreadable: %t", h.On(), holds.Unreadable(h))
		}
		if readable := strings.HasSuffix(h.Reason, "quality"); readable != (h.Tag == "good") || !readable && !strings.Contains(h.Reason, "cannot be read") {
			t.Errorf("%s: %q", h.On(), h.Reason)
		}
		if ends := h.Tag == "spring: 50% off"; ends != h.Until.Equal(soon) || !ends && !h.Until.IsZero() {
			t.Errorf("%s ends at %s", h.On(), h.Until)
		}
	}
	of := " of number " + phone
	if want := []string{"campaign autumn", "number " + phone, "campaign a: 50/50 of client acme at number " + phone, "tag another" + of, "tag good" + of, "tag spring: 50% off" + of, "template sale/en_US" + of}; err != nil || strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("listed %q, %v, want %q", got, err, want)
	}
	if !strings.Contains(log.String(), "template:"+phone+":sale/en_US") {
		t.Errorf("the log does not name it: %s", log)
	}
	on := message.Context{From: phone, Template: "sale/en_US", Tags: []string{"good"}}
	if held, err := hs.On(t.Context(), on); err != nil || len(held) != 3 {
		t.Errorf("the message is held by %+v, %v", held, err)
	}
	again := message.Hold{Number: phone, Template: "sale/en_US", By: "anna", Reason: "quality"}
	if h, err := hs.Set(t.Context(), again); err != nil || h.Template != again.Template || h.Reason == again.Reason {
		t.Errorf("set over it: %+v, %v", h, err)
	}
	for _, h := range []message.Hold{again, {Number: phone, By: "anna", Reason: "corrected"}} {
		if ok, err := hs.Release(t.Context(), h); !ok || err != nil {
			t.Errorf("released: %t, %v", ok, err)
		}
	}
	if h, err := hs.Set(t.Context(), again); err != nil || h.Reason != again.Reason {
		t.Errorf("set again: %+v, %v", h, err)
	}
	if held, err := hs.On(t.Context(), on); err != nil || len(held) != 2 || held[0].Reason != "quality" || held[1].Reason != "quality" {
		t.Errorf("then the message is held by %+v, %v", held, err)
	}
}
