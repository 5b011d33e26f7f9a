package main

import (
	"fmt"
	"strings"

	"sluice/internal/prices"
)

// setBudgets sets the member budgets from flags like per_day=100.00. Nil leaves it as it is.
func setBudgets(members map[string]any, values []string) error {
	if values == nil {
		return nil
	}
	all, campaigns := map[string]any{}, map[string]any{}
	for _, v := range values {
		if v == "" {
			continue
		}
		i := strings.LastIndexByte(v, '=')
		if i < 1 {
			return fmt.Errorf("--budget: %q is not like per_day=100.00", v)
		}
		if campaign, is := strings.CutPrefix(v[:i], "campaigns."); is {
			campaigns[campaign] = v[i+1:]
			all["campaigns"] = campaigns
		} else {
			all[v[:i]] = v[i+1:]
		}
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
	return prices.Amount(millionths).String()
}
