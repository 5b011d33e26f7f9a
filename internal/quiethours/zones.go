package quiethours

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nyaruka/phonenumbers"

	"sluice/internal/message"
)

// zones finds the time zones in which people may be.
type zones struct {
	display   func(number string) string
	overrides map[string]string
}

// of returns the time zones in which a recipient may be: those that were configured, else those of the region that the phone number
// names, else those of the number that sends.
func (z *zones) of(number, recipient string) []*time.Location {
	if message.IsUserID(recipient) {
		country, _, _ := strings.Cut(recipient, ".")
		if name := z.overrides[country]; name != "" {
			return []*time.Location{location(name)}
		}
		if code := phonenumbers.GetCountryCodeForRegion(country); code != 0 {
			recipient = "+" + strconv.Itoa(code)
		}
	}
	if found := z.ofPhone(recipient); len(found) > 0 {
		return found
	}
	return z.ofNumber(number)
}

// ofNumber returns the time zones of a number of ours, UTC if they are unknown.
func (z *zones) ofNumber(number string) []*time.Location {
	if found := z.ofPhone(z.display(number)); len(found) == 1 {
		return found
	}
	return []*time.Location{time.UTC}
}

// ofPhone returns the time zones of a phone number, or of the begin of one.
func (z *zones) ofPhone(phone string) (found []*time.Location) {
	digits := strings.TrimPrefix(phone, "+")
	for n := len(digits); n > 0 && len(z.overrides) > 0; n-- {
		if name := z.overrides["+"+digits[:n]]; name != "" {
			return []*time.Location{location(name)}
		}
	}
	names, err := phonenumbers.GetTimezonesForPrefix(digits)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if l := location(name); l != nil { // there is none for the unknown zone
			found = append(found, l)
		}
	}
	return found
}

var locations sync.Map // by name: reading one takes longer than a decision

// location returns the time zone with a name; nil: there is none.
func location(name string) *time.Location {
	if known, ok := locations.Load(name); ok {
		return known.(*time.Location)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		l = nil
	}
	known, _ := locations.LoadOrStore(name, l)
	return known.(*time.Location)
}
