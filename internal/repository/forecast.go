package repository

import (
	"context"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
)

// Forecast estimates when new messages would be sent that would be accepted one after the other. One goroutine uses it.
type Forecast struct {
	o     ForecastOptions
	all   []backlog.Number // nil: not read yet
	ahead map[line]int
	flows map[message.Flow]*flowAhead
	cost  map[message.Spending]message.Amount // of the messages before
}

// ForecastOptions are what a Forecast reads. All are required.
type ForecastOptions struct {
	Campaigns *Campaigns
	Number    func(ctx context.Context, number string) (backlog.Number, error) // the backlog of a number
	Numbers   func() []string                                                  // all numbers
	Settings  func(message.Flow) message.CampaignSettings                      // without asking Redis
}

// line is messages that are sent one after the other.
type line struct {
	number string
	class  message.Class
	flow   message.Flow
}

// flowAhead is what limits a flow over all numbers, and what is before a further message of it.
type flowAhead struct {
	settings message.CampaignSettings
	messages int
	today    int
	dayEnds  time.Time
	budgets  []message.BudgetUse
}

// NewForecast returns a Forecast of no message yet.
func NewForecast(o ForecastOptions) *Forecast {
	return &Forecast{o: o, ahead: map[line]int{}, flows: map[message.Flow]*flowAhead{}, cost: map[message.Spending]message.Amount{}}
}

// Next estimates when a new message would be sent, behind what waits now and the messages of earlier calls. For the first flow with a cap per day
// or a budget it reads what waits at all numbers, and for each such flow once what is used of them: rows can have a campaign each.
func (f *Forecast) Next(ctx context.Context, m *message.Message) (out message.Forecast, err error) {
	n, err := f.o.Number(ctx, m.From)
	if err != nil {
		return out, err
	}
	flow := m.Flow()
	of := f.flows[flow]
	if of == nil {
		if of, err = f.read(ctx, flow); err != nil {
			return out, err
		}
		f.flows[flow] = of
	}
	for _, u := range of.budgets {
		account := accountOf(u, flow)
		if f.cost[account] += message.Amount(m.Price); m.Price > 0 && u.Lacks(f.cost[account]) {
			out.Short = append(out.Short, u)
		}
	}
	at := line{m.From, m.Class, flow}
	pending := n.Pending(m.Class, flow)
	own := pending + f.ahead[at]
	out.In = of.settings.CapWait(max(of.messages, own), of.today, time.Now(), of.dayEnds, func(ahead int) time.Duration {
		return n.SendETA(m.Class, flow, own*ahead/max(of.messages, own, 1)-pending)
	})
	f.ahead[at]++
	of.messages++
	return out, nil
}

// read reads what limits a flow, and what waits of it.
func (f *Forecast) read(ctx context.Context, flow message.Flow) (of *flowAhead, err error) {
	c := f.o.Campaigns
	of = &flowAhead{settings: f.o.Settings(flow)}
	capped := of.settings.CapPerDay > 0
	if !capped && !c.budgets.Concern(flow) {
		return of, nil
	}
	if f.all == nil {
		if f.all, err = c.backlog.ReadAll(ctx, f.o.Numbers()); err != nil {
			return nil, err
		}
	}
	of.messages, _ = backlog.FlowETA(f.all, flow)
	if capped {
		if of.today, of.dayEnds, err = c.campaigns.Counted(ctx, of.settings); err != nil {
			return nil, err
		}
	}
	if of.budgets, err = c.budgets.Of(ctx, time.Now(), flow); err != nil || len(of.budgets) == 0 {
		return of, err
	}
	cost, err := c.cost(ctx, f.all, flow, of.messages)
	for _, u := range of.budgets {
		f.cost[accountOf(u, flow)] += cost
	}
	return of, err
}

// accountOf is what counts together as spent of a budget of a flow.
func accountOf(u message.BudgetUse, flow message.Flow) message.Spending {
	account := message.Spending{Client: flow.Client, Period: u.Budget}
	if u.Until.IsZero() {
		account.Campaign = flow.Campaign
	}
	return account
}
