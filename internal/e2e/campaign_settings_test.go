package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestCampaignSettings: a campaign with a rate and a cap per day is sent from two numbers while a worker is killed. Meta gets no more of it
// than the rate and the cap allow, and one-time codes and another campaign go on. When the cap is raised and the settings are removed, the
// rest is sent.
func TestCampaignSettings(t *testing.T) {
	t.Parallel()
	const each, rate, limit = 60, 8, 50
	w := setup(t, 200, graphsim.Options{})
	send := func(number int, campaign string, i int, class client.Class) string {
		t.Helper()
		a, err := w.api.Send(t.Context(), client.Message{
			From: numbers[number], Key: fmt.Sprint(campaign, number, i), Class: class, Campaign: campaign, Content: client.Text(fmt.Sprintf("+1555%d%06d", len(campaign), 1000*number+i), "Hello"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	took := func() (times []time.Time) {
		for _, a := range w.sim.Accepted() {
			if strings.HasPrefix(a.To, "15556") { // the length of spring
				times = append(times, a.Start)
			}
		}
		return times
	}
	sent := func() int { return len(took()) }
	noon := 12 - time.Now().UTC().Hour() // in this time zone it is about noon, so the day does not end during the test
	setOf := func(campaign, members string) {
		t.Helper()
		w.operate("PUT", "/v1/campaigns/"+campaign+"/settings", `{`+members+`,"actor":"anna","reason":"warm up"}`)
	}
	set := func(members string) { t.Helper(); setOf("spring", members) }
	setOf("other", fmt.Sprintf(`"rate":%d`, rate))
	set(fmt.Sprintf(`"rate":%d,"cap_per_day":%d,"time_zone":"Etc/GMT%+d"`, rate, limit, -noon))
	var last string
	for i := range each {
		for number := range numbers {
			last = send(number, "spring", i, client.ClassMarketing)
		}
	}
	waitsFor := func(rule string) {
		t.Helper()
		var e client.Explanation
		poll.Until(t, "it waits for "+rule, func() bool {
			var err error
			e, err = w.api.Explain(t.Context(), last)
			return err == nil && e.Rule == rule
		})
		if e.Until.Before(time.Now().Add(10*time.Hour)) || e.Ahead == nil || *e.Ahead < each-limit {
			t.Errorf("%s until %v, behind %d", e.Rule, e.Until, e.Ahead)
		}
	}
	waitsFor("campaign_rate")

	begin := time.Now()
	workers := []*worker{w.worker(), w.worker()}
	poll.Until(t, "some are sent", func() bool { return sent() > 4 })
	workers[0].kill()
	var codes []string
	for i := range 20 {
		codes = append(codes, send(i%2, "", i, client.ClassAuthentication))
	}
	w.worker()
	for id, r := range w.settled(codes, over) {
		if r.State != client.StateDelivered {
			t.Errorf("the code %s is %s: %s", id, r.State, r.Reason)
		}
	}

	waiting := func() (int, client.Campaign) {
		t.Helper()
		c, err := w.api.Campaign(t.Context(), "", "spring")
		if err != nil {
			t.Fatal(err)
		}
		return c.States[client.StateQueued], c
	}
	reaches := func(most int) {
		t.Helper()
		poll.Until(t, "the cap is reached", func() bool {
			_, c := waiting()
			return c.Settings != nil && !c.Settings.CapReachedUntil.IsZero()
		})
		waitsFor("campaign_cap")
		poll.Until(t, "all that was counted was sent", func() bool { n, _ := waiting(); return n == 2*each-most })
		var others []string // of a campaign with the same rate, which would be sent together with further ones
		for i := range 10 {
			others = append(others, send(i%2, "other", most*10+i, client.ClassMarketing))
		}
		w.settled(others, over)
		if n := sent(); n > most {
			t.Errorf("Meta got %d messages in a day, want %d", n, most)
		}
		times := took()
		slices.SortFunc(times, time.Time.Compare)
		const allowed = 2*rate + 8 // in a second, at both numbers; a busy machine sends some late
		for i := allowed; i < len(times); i++ {
			if in := times[i].Sub(times[i-allowed]); in < time.Second {
				t.Fatalf("Meta got %d messages in %v, want at most %d in a second", allowed+1, in, allowed)
			}
		}
	}
	reaches(limit)
	set(fmt.Sprintf(`"cap_per_day":%d`, limit+10))
	poll.Until(t, "the campaign goes on", func() bool { return sent() > limit })
	reaches(limit + 10)
	set(`"reset":true`)
	poll.Until(t, "all are sent", func() bool { n, _ := waiting(); return n == 0 })
	poll.Until(t, "Meta got each message, or what the killed worker sent is in doubt", func() bool {
		_, c := waiting()
		return sent() == c.Messages-c.States[client.StateInDoubt]-c.States[client.StateParked]
	})
	t.Logf("%d messages sent in %v", sent(), time.Since(begin))
}
