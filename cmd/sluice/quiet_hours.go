package main

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/config"
)

// quietHours are values like "21:00-08:00 days=sat,sun".
type quietHours []string

func (q quietHours) set(members map[string]any) error {
	return setList(members, "quiet_hours", "--quiet-hours", q, parseQuietHours)
}

// setList adds a member with what values of a flag mean, if the flag was given. Empty values are left out.
func setList[T any](members map[string]any, name, flag string, values []string, parse func(string) (T, error)) error {
	if values == nil {
		return nil
	}
	all := []T{}
	for _, value := range values {
		if strings.TrimSpace(value) == "" {
			continue
		}
		one, err := parse(value)
		if err != nil {
			return fmt.Errorf("%s: %q: %w", flag, value, err)
		}
		all = append(all, one)
	}
	if members[name] = all; len(all) == 0 {
		members[name] = nil
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

// frequencyCaps are values like "2 within=24h".
type frequencyCaps []string

func (f frequencyCaps) set(members map[string]any) error {
	return setList(members, "frequency_caps", "--frequency-cap", f, parseFrequencyCap)
}

func parseFrequencyCap(value string) (one config.FrequencyCap, err error) {
	words := strings.Fields(value)
	if one.Messages, err = strconv.Atoi(words[0]); err != nil {
		return one, fmt.Errorf("%q is not a number of messages", words[0])
	}
	for _, word := range words[1:] {
		switch key, list, _ := strings.Cut(word, "="); key {
		case "within":
			one.Within = list
		case "classes":
			one.Classes = strings.Split(list, ",")
		default:
			return one, fmt.Errorf("%q is none of within= and classes=", word)
		}
	}
	return one, nil
}
