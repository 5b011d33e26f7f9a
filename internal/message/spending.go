package message

import "time"

// Spending is what counts together as spent: by a client in a period, or by one of its campaigns over all time.
type Spending struct {
	Client   string
	Period   string // one of Periods; empty: of the campaign
	Campaign string
}

// Periods returns the names of the day and of the month of a time, by UTC.
func Periods(at time.Time) [2]string {
	at = at.UTC()
	return [2]string{at.Format(time.DateOnly), at.Format("2006-01")}
}

// BudgetUse is what a client has spent of a budget.
type BudgetUse struct {
	Client string    `json:"client" doc:"The client."`
	Budget string    `json:"budget" doc:"per_day or per_month."`
	Limit  Amount    `json:"limit" doc:"The budget, as text, in the currency of the prices."`
	Spent  Amount    `json:"spent" doc:"What counts as spent: of a message the estimate of its price since its first attempt, nothing if it is not delivered or free, and Meta's price by the pricing object of its delivery report."`
	Until  time.Time `json:"until" doc:"When the period ends."`
}

// Lacks reports whether the budget has too little left for messages that cost so much together.
func (u BudgetUse) Lacks(cost Amount) bool { return u.Spent+cost > u.Limit }

// Fits returns for how many of some messages that cost so much together the budget suffices, if each costs the same.
func (u BudgetUse) Fits(messages int, cost Amount) int {
	if !u.Lacks(cost) {
		return messages
	}
	return int(float64(max(u.Limit-u.Spent, 0)) * float64(messages) / float64(cost))
}

// Shortage is a budget that does not suffice for all messages that wait.
type Shortage struct {
	BudgetUse
	Messages int // about how many of them it does not suffice for
}

// Forecast is when a message would be sent.
type Forecast struct {
	In    time.Duration // about, if Short is empty
	Short []BudgetUse   // the budgets that have too little left for it and those before it
}

// Cost is the estimated price of a message.
type Cost struct {
	Amount   Amount `json:"amount" doc:"As text, like 0.0625."`
	Currency string `json:"currency" doc:"ISO 4217: that of the prices."`
	Guess    bool   `json:"guess,omitempty" doc:"true: the prices do not name the country of the recipient. The amount is the highest price of the category."`
}
