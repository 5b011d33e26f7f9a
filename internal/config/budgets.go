package config

import (
	"errors"

	"go.yaml.in/yaml/v3"

	"sluice/internal/prices"
)

// budgets reads the budgets of a client.
func (d *document) budgets(dst *Budgets) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, []member{
			{key: "per_day", read: d.scalar(budget(&dst.PerDay))},
			{key: "per_month", read: d.scalar(budget(&dst.PerMonth))},
			{key: "campaigns", read: d.byCampaign(func(name, value string) error {
				var amount prices.Amount
				err := budget(&amount)(value)
				if dst.Campaigns == nil {
					dst.Campaigns = map[string]prices.Amount{}
				}
				dst.Campaigns[name] = amount
				return err
			})},
		})
	}
}

// budget reads an amount of money that is not 0.
func budget(dst *prices.Amount) func(string) error {
	return func(s string) (err error) {
		if *dst, err = prices.ParseAmount(s); err == nil && *dst == 0 {
			err = errors.New("0 would send nothing: to stop, hold the campaign or cancel it; for no budget, leave it out")
		}
		return err
	}
}
