package main

import (
	"fmt"
	"strings"

	"sluice/internal/message"
)

// setBudgets sets the member budgets from flags like per_day=100.00. Nil leaves it as it is.
func setBudgets(members map[string]any, values []string) error {
	if values == nil {
		return nil
	}
	all := map[string]any{}
	for _, v := range values {
		if v == "" {
			continue
		}
		name, amount, is := strings.Cut(v, "=")
		if !is {
			return fmt.Errorf("--budget: %q is not like per_day=100.00", v)
		}
		all[name] = amount
	}
	if members["budgets"] = all; len(all) == 0 {
		members["budgets"] = nil
	}
	return nil
}

// money writes millionths of a currency; 0 as nothing.
func money(millionths int) string {
	if millionths == 0 {
		return ""
	}
	return message.Amount(millionths).String()
}
