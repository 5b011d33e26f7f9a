package pages

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/internal/fleet"
)

// overview is how all numbers are doing, as the console API says.
type overview struct {
	At       time.Time
	Headline string
	Count    int
	Waiting  int
	Held     int `json:"held_messages"`
	InDoubt  int `json:"in_doubt"`
	Parked   int
	Dead     int `json:"dead_letters"`
	Awaiting int `json:"awaiting_status"`
	Numbers  []overviewNumber
	Offset   int // of the first number that is shown
}

// overviewNumber is a row of the overview.
type overviewNumber struct {
	fleet.Number
	History []float64 `json:"attempts_history"`
}

// tokenSoon is how soon an access token must expire for the overview to show it.
const tokenSoon = 30 * 24 * time.Hour

// Tags returns what of Meta's description of the number is not as it should be.
func (n overviewNumber) Tags() (tags []string) {
	if t := n.Meta.Token; t != nil {
		left := time.Until(t.Expires)
		switch {
		case !t.Valid || !t.Expires.IsZero() && left <= 0:
			tags = append(tags, "token not valid")
		case !t.Expires.IsZero() && left < tokenSoon:
			tags = append(tags, fmt.Sprintf("token: %d days", int(left.Hours()/24)))
		}
	}
	if p := n.Meta.Profile; p != nil && (p.Quality == "YELLOW" || p.Quality == "RED") {
		tags = append(tags, "quality "+p.Quality)
	}
	return tags
}

// overviewRows is how many numbers the page shows at a time.
const overviewRows = 50

// First and Last return the places of the numbers that are shown, from 1.
func (o overview) First() int { return o.Offset + 1 }

// Last returns the place of the last number that is shown.
func (o overview) Last() int { return o.Offset + len(o.Numbers) }

// Before returns the offset of the numbers before those that are shown; empty: there are none.
func (o overview) Before() string {
	if o.Offset == 0 {
		return ""
	}
	return strconv.Itoa(max(0, o.Offset-overviewRows))
}

// After returns the offset of the numbers after those that are shown; empty: there are none.
func (o overview) After() string {
	if o.Last() >= o.Count {
		return ""
	}
	return strconv.Itoa(o.Last())
}

// Attention returns the most urgent attention of all numbers: those that need it come first.
func (o overview) Attention() fleet.Attention {
	if len(o.Numbers) == 0 || o.Offset > 0 {
		return fleet.None
	}
	return o.Numbers[0].Attention
}

func overviewPage() page {
	return page{
		name: "overview", path: "overview", title: "Overview", nav: true, live: true,
		read: func(v *view) (any, *problem) {
			query := url.Values{"limit": {strconv.Itoa(overviewRows)}}
			if offset := v.query("offset"); offset != "" {
				query.Set("offset", offset)
			}
			if find := strings.TrimSpace(v.query("find")); find != "" {
				query.Set("phone_number_id_contains", find)
			}
			var o overview
			failed := v.console("GET", "/v1/overview?"+query.Encode(), nil, &o)
			o.Offset, _ = strconv.Atoi(v.query("offset"))
			return o, failed
		},
	}
}
