package repository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/admission"
	"sluice/internal/audit"
	"sluice/internal/backlog"
	"sluice/internal/budget"
	"sluice/internal/campaigns"
	"sluice/internal/config"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/repository"
)

// TestForecast: seven messages of a campaign wait at two numbers. Its cap lets four go in a day: the others, and new ones behind them, go on the next
// days. Where a budget does not suffice for what waits, the campaign says for how many, and a new message names the budget.
func TestForecast(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	numbers := []string{number, "1"}
	spring := message.Flow{Client: "acme", Campaign: "spring"}
	of := func(number string, i int) message.Message {
		return message.Message{
			ID: message.NewID(number, fmt.Sprint(i)), From: number, Class: message.Marketing, Client: spring.Client, Campaign: spring.Campaign, ExpiresAt: time.Now().Add(time.Hour),
			Price: 100_000, Payload: json.RawMessage(`{}`), Content: message.Content{Type: "text", To: fmt.Sprint("+4915112345", i)},
		}
	}
	var waiting []message.Message
	for i := range 7 {
		waiting = append(waiting, of(numbers[i%2], i))
	}
	if err := admission.NewLoader(f.db, message.DefaultShards).Load(t.Context(), waiting); err != nil {
		t.Fatal(err)
	}
	var campaignBudget message.Amount
	var clientBudgets config.Budgets
	records, held := ledger.New(f.db, ledger.Options{}), holds.New(f.db, message.DefaultShards, slog.New(slog.DiscardHandler))
	store := campaigns.NewStore(f.db, held, audit.New(f.db, message.DefaultShards))
	reader := backlog.New(f.db, message.DefaultShards, func(string) int { return 80 })
	c := repository.NewCampaigns(records, reader, held, store, budget.New(f.db, budget.Options{
		Of: func(string) config.Budgets { return clientBudgets }, Campaign: func(message.Flow) message.Amount { return campaignBudget }, Corrected: records.Corrected,
	}))
	wait := func() message.CampaignWait {
		t.Helper()
		w, err := c.CampaignWait(t.Context(), spring, numbers)
		if err != nil || w.Pending != 7 {
			t.Fatalf("%+v, %v", w, err)
		}
		return w
	}
	var settings message.CampaignSettings
	reads := 0
	next := func() func() message.Forecast {
		forecast := repository.NewForecast(repository.ForecastOptions{
			Campaigns: c, Number: func(ctx context.Context, number string) (backlog.Number, error) { return reader.Read(ctx, number) },
			Numbers: func() []string { reads++; return numbers }, Settings: func(message.Flow) message.CampaignSettings { return settings },
		})
		i := 100
		return func() message.Forecast {
			t.Helper()
			i++
			m := of(numbers[i%2], i)
			w, err := forecast.Next(t.Context(), &m)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
	}
	soon := func(what string, in time.Duration) {
		t.Helper()
		if in < 0 || in > time.Minute {
			t.Errorf("%s: in %v", what, in)
		}
	}
	soon("no cap", wait().In)
	soon("a new one, no cap", next()().In)

	zone := fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12) // it is about noon there
	changed, err := c.ChangeCampaign(t.Context(), message.CampaignChange{Flow: spring, CapPerDay: new(4), TimeZone: &zone, By: "anna", Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	settings = *changed.Settings
	midnight := func() time.Duration { return time.Until(changed.DayEnds) }
	soon("the last of seven, after midnight", wait().In-midnight())
	forecast := next()
	for i, days := range []time.Duration{0, 1, 1, 1, 1, 2} {
		soon(fmt.Sprint("new one ", i+1), forecast().In-midnight()-days*24*time.Hour)
	}

	campaignBudget, clientBudgets.PerDay = 850_000, 500_000
	if short := wait().Short; len(short) != 1 || short[0].Budget != "per_day" || short[0].Messages != 2 || short[0].Until.IsZero() {
		t.Errorf("the budgets suffice for all but %+v", short)
	}
	clientBudgets.PerDay = 10_000_000
	if short := wait().Short; short != nil {
		t.Errorf("the budgets do not suffice: %+v", short)
	}
	forecast = next()
	if w := forecast(); w.Short != nil {
		t.Errorf("a new one: %+v", w.Short)
	}
	if w := forecast(); len(w.Short) != 1 || w.Short[0].Budget != "campaign" {
		t.Errorf("the second new one: %+v", w.Short)
	}
	reads, forecast = 0, next()
	for range 3 {
		forecast()
		spring.Campaign += "2"
	}
	if reads != 1 {
		t.Errorf("for three campaigns the backlog of all numbers was read %d times", reads)
	}
}
