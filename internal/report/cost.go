package report

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"sluice/internal/message"
	"sluice/internal/prices"
)

// Statement is what Meta charges for the messages of an account.
type Statement struct {
	Account  string         `json:"waba_id" doc:"The WhatsApp Business Account."`
	Currency string         `json:"currency,omitempty" doc:"The currency of the prices. Absent: there are no prices."`
	Lines    []Line         `json:"lines" doc:"Messages with a known price, and free messages."`
	Unpriced []Line         `json:"unpriced,omitempty" doc:"Messages whose price is unknown. They are not in the total."`
	Messages int            `json:"messages" doc:"Delivered messages, those without a price included."`
	Total    message.Amount `json:"total" doc:"The sum of the amounts of the lines."`
	Complete bool           `json:"complete" doc:"true: every message has a price."`
}

// Line is messages with the same price.
type Line struct {
	Market   string         `json:"market,omitempty" doc:"As the file of prices names it. For messages without a price: the first digits of the phone numbers, or the country."`
	Category string         `json:"category" doc:"Meta's category."`
	Type     string         `json:"type" doc:"Meta's type: regular is charged, free_customer_service and free_entry_point are free."`
	Messages int            `json:"messages" doc:"How many were delivered."`
	Price    message.Amount `json:"price" doc:"Of one message. Meaningless for messages without a price."`
	Amount   message.Amount `json:"amount" doc:"messages times price."`
}

// delivered counts the messages that were delivered in a time, by the price objects in their statuses. Meta charges at delivery, and
// sends the object with one of delivered and read. A webhook that comes twice, also in the next period, counts once: the first one.
const delivered = `WITH priced AS (
	SELECT DISTINCT ON (meta_id) at, phone_number_id, waba_id, region, pricing_category, pricing_type, billable FROM sluice_archive
	WHERE kind = 'status' AND state IN ('delivered', 'read', 'played') AND pricing_category IS NOT NULL AND meta_id IS NOT NULL
		AND at >= $1::timestamptz - interval '35 days' AND at < $2
	ORDER BY meta_id, at, seq, line
)
SELECT coalesce(waba_id, ''), coalesce(region, ''), pricing_category, coalesce(pricing_type, ''), coalesce(billable, true), to_char(at AT TIME ZONE $4::text, 'YYYY-MM-DD'), count(*)
FROM priced WHERE at >= $1 AND ($3::text[] IS NULL OR phone_number_id = ANY($3)) GROUP BY 1, 2, 3, 4, 5, 6`

// Cost returns a statement for each account, by the account. Template and Tag of the filter do not apply: messages of other
// programs on the account are in it too. A nil table means that no price is known.
func (r *Reader) Cost(ctx context.Context, f Filter, table *prices.Table) ([]Statement, error) {
	all := map[string]*Statement{}
	err := r.read(ctx, delivered, []any{f.From, f.Until, f.Numbers, f.zone()}, func(row pgx.CollectableRow) error {
		var account, region, name, kind, date string
		var billable bool
		var n int
		if err := row.Scan(&account, &region, &name, &kind, &billable, &date, &n); err != nil {
			return err
		}
		s := all[account]
		if s == nil {
			s = &Statement{Account: account, Lines: []Line{}}
			if table != nil {
				s.Currency = table.Currency
			}
			all[account] = s
		}
		s.add(table, region, name, kind, billable, date, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sorted := []Statement{}
	for _, s := range all {
		for _, lines := range [][]Line{s.Lines, s.Unpriced} {
			slices.SortFunc(lines, func(a, b Line) int {
				return cmp.Or(cmp.Compare(a.Market, b.Market), cmp.Compare(a.Category, b.Category), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Price, b.Price))
			})
		}
		s.Complete = len(s.Unpriced) == 0
		sorted = append(sorted, *s)
	}
	slices.SortFunc(sorted, func(a, b Statement) int { return cmp.Compare(a.Account, b.Account) })
	return sorted, nil
}

// add adds messages to the line with the same price.
func (s *Statement) add(table *prices.Table, region, name, kind string, billable bool, date string, n int) {
	s.Messages += n
	line := Line{Market: region, Category: prices.Category(name), Type: kind}
	lines := &s.Lines
	p, known := table.Of(region, name, date)
	switch {
	case strings.HasPrefix(kind, "free_"), kind == "" && !billable:
		line.Market = ""
		if known {
			line.Market = p.Market
		}
		line.Type = cmp.Or(kind, "free")
	case known:
		line.Market, line.Price = p.Market, p.Amount
	default:
		lines = &s.Unpriced
	}
	i := slices.IndexFunc(*lines, func(l Line) bool {
		return l.Market == line.Market && l.Category == line.Category && l.Type == line.Type && l.Price == line.Price
	})
	if i < 0 {
		i, *lines = len(*lines), append(*lines, line)
	}
	l := &(*lines)[i]
	amount := line.Price * message.Amount(n)
	l.Messages += n
	l.Amount += amount
	s.Total += amount
}
