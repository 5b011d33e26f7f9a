package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// QuietHours is a time of the day in which messages are not sent: while the clock of the recipient shows From or later, and earlier than
// To. If To is not after From, it ends on the next day.
type QuietHours struct {
	From      string   `json:"from" doc:"When they begin, like 21:00."`
	To        string   `json:"to" doc:"When they end, like 08:00. If it is not later than from: on the next day."`
	Days      []string `json:"days,omitempty" doc:"The days on which they begin: mon, tue, wed, thu, fri, sat or sun. Absent: each day."`
	Classes   []string `json:"classes,omitempty" doc:"Which classes they are for: marketing, utility or service. Absent: marketing."`
	Campaigns []string `json:"campaigns,omitempty" doc:"Which campaigns they are for. Absent: all messages of the classes."`
	Zone      string   `json:"time_zone,omitempty" doc:"Name of a time zone, like Europe/Berlin, that counts for each recipient. Absent: that of the recipient."`
}

// Days are the names of the days of a week, from Sunday as in package time.
var Days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// MarketingOnly are the classes of settings that name none.
var MarketingOnly = []string{"marketing"}

// ClockTime returns the minute of the day of a time like 21:00.
func ClockTime(s string) (minute int, err error) {
	if len(s) == len("15:04") && s[2] == ':' { // faster than time.Parse, for each message
		hour, err := strconv.ParseUint(s[:2], 10, 8)
		minute, err2 := strconv.ParseUint(s[3:], 10, 8)
		if err == nil && err2 == nil && hour < 24 && minute < 60 {
			return int(60*hour + minute), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time of the day like 21:00", s)
}

// quietHours reads a list of quiet hours.
func (d *document) quietHours(dst *[]QuietHours) func(string, *yaml.Node) {
	return d.list(func(path string, n *yaml.Node) {
		var q QuietHours
		d.mapping(path, n, []member{
			{key: "from", must: true, read: d.scalar(clockTime(&q.From))},
			{key: "to", must: true, read: d.scalar(clockTime(&q.To))},
			{key: "days", read: d.choices(&q.Days, Days...)},
			{key: "classes", read: d.choices(&q.Classes, "marketing", "utility", "service")},
			{key: "campaigns", read: d.list(func(path string, n *yaml.Node) {
				d.scalar(func(s string) error {
					if utf8.RuneCountInString(s) > campaignMost {
						return fmt.Errorf("has more than %d characters", campaignMost)
					}
					q.Campaigns = append(q.Campaigns, s)
					return nil
				})(path, n)
			})},
			{key: "time_zone", read: d.scalar(timeZone(&q.Zone))},
		})
		*dst = append(*dst, q)
	})
}

// choices reads a list of some of the known values.
func (d *document) choices(dst *[]string, known ...string) func(string, *yaml.Node) {
	return d.list(func(path string, n *yaml.Node) {
		var one string
		d.scalar(oneOf(&one, known...))(path, n)
		if slices.Contains(*dst, one) {
			d.wrong(path, n, fmt.Errorf("%s is in the list twice: remove one", one))
		}
		*dst = append(*dst, one)
	})
}

func clockTime(dst *string) func(string) error {
	return func(s string) error {
		_, err := ClockTime(s)
		*dst = s
		return err
	}
}

func timeZone(dst *string) func(string) error {
	return func(s string) error {
		if _, err := time.LoadLocation(s); err != nil || s == "Local" {
			return fmt.Errorf("%q is not the name of a time zone like Europe/Berlin or UTC", s)
		}
		*dst = s
		return nil
	}
}

// timeZones reads time zones by the begin of phone numbers, or by country.
func (d *document) timeZones(path string, n *yaml.Node) {
	var known []member
	all := map[string]string{}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if pattern(new(string), `\+[1-9][0-9]{0,14}|[A-Z]{2}`, "")(key) != nil {
			d.wrong(path, n.Content[i], errors.New("the keys are the begins of phone numbers, like \"+7\", or countries, like US"))
		}
		known = append(known, member{key: key, read: d.scalar(func(s string) error {
			var zone string
			err := timeZone(&zone)(s)
			all[key] = zone
			return err
		})})
	}
	d.mapping(path, n, known)
	d.TimeZones = all
}
