package message

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Amount is money in millionths of the currency.
type Amount int64

// String writes an amount with two to six digits after the point.
func (a Amount) String() string {
	sign := ""
	if a < 0 {
		sign, a = "-", -a
	}
	digits := strings.TrimRight(fmt.Sprintf("%06d", a%1_000_000), "0")
	return fmt.Sprintf("%s%d.%s", sign, a/1_000_000, digits+strings.Repeat("0", max(0, 2-len(digits))))
}

// MarshalText makes an amount a text in JSON, so that no program rounds it.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Amount) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAmount(string(text))
	return err
}

var amountPattern = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,6}))?$`)

// ParseAmount reads an amount of 0 or more, with up to six digits after the point.
func ParseAmount(text string) (Amount, error) {
	m := amountPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not an amount like 0.0625, with up to six digits after the point", text)
	}
	n, err := strconv.ParseInt(m[1]+m[2]+strings.Repeat("0", 6-len(m[2])), 10, 64)
	return Amount(n), err
}
