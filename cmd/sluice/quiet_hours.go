package main

import (
	"fmt"
	"strings"

	"sluice/internal/config"
)

// quietHours are values like "21:00-08:00 days=sat,sun".
type quietHours []string

// set adds the member quiet_hours, if the flag was given.
func (q quietHours) set(members map[string]any) error {
	if q == nil {
		return nil
	}
	all := []config.QuietHours{}
	for _, value := range q {
		if strings.TrimSpace(value) == "" {
			continue
		}
		one, err := parseQuietHours(value)
		if err != nil {
			return fmt.Errorf("--quiet-hours: %q: %w", value, err)
		}
		all = append(all, one)
	}
	if members["quiet_hours"] = all; len(all) == 0 {
		members["quiet_hours"] = nil
	}
	return nil
}

func parseQuietHours(value string) (q config.QuietHours, err error) {
	words := strings.Fields(value)
	from, to, ok := strings.Cut(words[0], "-")
	if !ok {
		return q, fmt.Errorf("%q is not a time like 21:00-08:00", words[0])
	}
	q.From, q.To = from, to
	for _, word := range words[1:] {
		switch key, list, _ := strings.Cut(word, "="); key {
		case "days":
			q.Days = strings.Split(list, ",")
		case "classes":
			q.Classes = strings.Split(list, ",")
		case "campaigns":
			q.Campaigns = strings.Split(list, ",")
		case "time_zone":
			q.Zone = list
		default:
			return q, fmt.Errorf("%q is none of days=, classes=, campaigns= and time_zone=", word)
		}
	}
	return q, nil
}

// describeQuietHours returns quiet hours as the flag has them.
func describeQuietHours(all []config.QuietHours) string {
	var texts []string
	for _, q := range all {
		text := q.From + "-" + q.To
		for _, part := range []struct{ key, value string }{
			{"days", strings.Join(q.Days, ",")},
			{"classes", strings.Join(q.Classes, ",")},
			{"campaigns", strings.Join(q.Campaigns, ",")},
			{"time_zone", q.Zone},
		} {
			if part.value != "" {
				text += " " + part.key + "=" + part.value
			}
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}
