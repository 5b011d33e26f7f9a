package pages

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/fleet"
	"sluice/internal/message"
)

// clientDetail is a client, as the console API says, with what the API of callers says of its quotas and its usage.
type clientDetail struct {
	Client struct {
		Name, Note string
		Weight     int
		Campaigns  map[string]int `json:"campaign_weights"`
		Suppress   []string
	}
	Numbers []clientNumber
	Keys    []clientKey   `json:"api_keys"`
	Targets []relayTarget `json:"relay_targets"`
	OptOuts int           `json:"suppressed_recipients"`

	Operator bool // the API key of the session belongs to no client
	Quotas   []quotaUse
	Budgets  []message.BudgetUse
	Usage    []usageRow         // the last row is the sum
	Today    map[string]float64 // by number: which part of the messages of today are of the client
	Months   [2]string          // this month and the one before
}

// clientNumber is a number of a client.
type clientNumber struct {
	ID      string `json:"phone_number_id"`
	Leaving string
	Shared  bool
	Share   float64
	Waiting int
	Held    bool
	Number  *overviewNumber // nil: the API key of the session may not see it
}

// clientKey is an API key of a client.
type clientKey struct {
	Name            string
	Numbers         []string `json:"phone_number_ids"`
	Scopes          []string
	Revoked         bool
	Expires         time.Time
	PreviousExpires time.Time `json:"previous_expires"`
	LastUsed        time.Time `json:"last_used"`
}

// Expired reports whether the key has expired.
func (k clientKey) Expired() bool { return !k.Expires.IsZero() && !time.Now().Before(k.Expires) }

// quotaUse is what is used of a quota.
type quotaUse struct{ message.QuotaUse }

// Class returns the class that the quota is for; empty: all.
func (q quotaUse) Class() string {
	class, _, ofClass := strings.Cut(q.Quota, ".")
	if !ofClass {
		return ""
	}
	return class
}

// Period returns second, day or month.
func (q quotaUse) Period() string { return q.Quota[strings.LastIndex(q.Quota, "_")+1:] }

// Full reports whether the quota is used up.
func (q quotaUse) Full() bool { return q.Used >= q.Limit }

// Part returns the used part of the quota, 0 to 1 and more.
func (q quotaUse) Part() float64 { return float64(q.Used) / float64(max(q.Limit, 1)) }

// usageRow is the usage of a number and category, of this month and the one before.
type usageRow struct {
	Number, Category string
	Taken, Billed    [2]int
}

// add adds the usage of a day.
func (r *usageRow) add(u message.Usage, month int) {
	r.Taken[month] += u.Taken
	r.Billed[month] += u.Billed
}

// Holds returns the holds that concern the client and its numbers, each once.
func (c clientDetail) Holds() (all []fleet.NumberHold) {
	seen := map[string]bool{}
	for _, n := range c.Numbers {
		if n.Number == nil {
			continue
		}
		for _, h := range n.Number.Holds {
			if other := h.Campaign != "" && h.Client != c.Client.Name; !other && !seen[h.Target()] {
				seen[h.Target()], all = true, append(all, h)
			}
		}
	}
	return all
}

// Full returns the quotas of a day or a month that are used up.
func (c clientDetail) Full() []quotaUse {
	return slices.DeleteFunc(slices.Clone(c.Quotas), func(q quotaUse) bool { return !q.Full() || q.Period() == "second" })
}

func clientPage() page {
	return page{name: "client", path: "clients/{id}", title: "Client", read: readClient}
}

func readClient(v *view) (any, *problem) {
	var c clientDetail
	name := v.r.PathValue("id")
	if failed := v.console("GET", "/v1/clients/"+url.PathEscape(name), nil, &c); failed != nil {
		return nil, failed
	}
	var quotas struct {
		Quotas  []quotaUse
		Budgets []message.BudgetUse
	}
	if failed := v.ofClient("/v1/quotas", &quotas, "client", name); failed != nil {
		return nil, failed
	}
	c.Operator, c.Quotas, c.Budgets = v.session.key.Client == "", quotas.Quotas, quotas.Budgets
	now := time.Now().UTC()
	this := now.AddDate(0, 0, 1-now.Day())
	last := this.AddDate(0, -1, 0)
	c.Months = [2]string{this.Format("2006-01"), last.Format("2006-01")}
	usage, failed := v.usage(name, last, now)
	if failed != nil {
		return nil, failed
	}
	c.Usage = byNumber(usage, c.Months[0])
	if c.Operator && slices.ContainsFunc(c.Numbers, func(n clientNumber) bool { return n.Shared }) {
		today, failed := v.usage("", now, now)
		if failed != nil {
			return nil, failed
		}
		c.Today = shares(today, name)
	}
	return c, nil
}

// usage returns the usage of a client, or of all if it is empty, from a day to another one.
func (v *view) usage(name string, from, to time.Time) ([]message.Usage, *problem) {
	var list struct{ Usage []message.Usage }
	failed := v.ofClient("/v1/usage", &list, "client", name, "from", from.Format(time.DateOnly), "to", to.Format(time.DateOnly))
	return list.Usage, failed
}

// ofClient reads what the API of callers says of a client. It reads nothing of a new client that the API does not know yet.
func (v *view) ofClient(path string, into any, query ...string) *problem {
	failed := v.api("GET", withQuery(path, query...), nil, into)
	if failed != nil && failed.Code == "client_not_found" {
		return nil
	}
	return failed
}

// byNumber sums usage by number and category, with a row for the sum at the end; nil: there is none. month is this month, other days are of
// the one before.
func byNumber(all []message.Usage, month string) (rows []usageRow) {
	if len(all) == 0 {
		return nil
	}
	var sum usageRow
	for _, u := range all {
		i := slices.IndexFunc(rows, func(r usageRow) bool { return r.Number == u.Number && r.Category == u.Category })
		if i < 0 {
			i, rows = len(rows), append(rows, usageRow{Number: u.Number, Category: u.Category})
		}
		of := 1
		if strings.HasPrefix(u.Day, month) {
			of = 0
		}
		rows[i].add(u, of)
		sum.add(u, of)
	}
	slices.SortFunc(rows, func(a, b usageRow) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Category, b.Category))
	})
	return append(rows, sum)
}

// shares returns which part of the messages of each number a client has, by the phone number id.
func shares(all []message.Usage, name string) map[string]float64 {
	own, sum, parts := map[string]int{}, map[string]int{}, map[string]float64{}
	for _, u := range all {
		if sum[u.Number] += u.Taken; u.Client == name {
			own[u.Number] += u.Taken
		}
	}
	for number, n := range sum {
		if n > 0 {
			parts[number] = float64(own[number]) / float64(n)
		}
	}
	return parts
}
