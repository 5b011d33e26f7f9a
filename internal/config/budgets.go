package config

import (
	"errors"

	"go.yaml.in/yaml/v3"

	"sluice/internal/message"
)

// budgets reads the budgets of a client.
func (d *document) budgets(dst *Budgets) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, []member{
			{key: "per_day", read: d.scalar(budget(&dst.PerDay))},
			{key: "per_month", read: d.scalar(budget(&dst.PerMonth))},
		})
	}
}

// budget reads an amount of money that is not 0.
func budget(dst *message.Amount) func(string) error {
	return func(s string) (err error) {
		if *dst, err = message.ParseAmount(s); err == nil && *dst == 0 {
			err = errors.New("0 would send nothing: to stop, set a hold; for no budget, leave it out")
		}
		return err
	}
}
