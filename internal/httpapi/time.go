package httpapi

import "time"

// mostOffset is the largest offset of a time zone in use, in minutes: UTC+14.
const mostOffset = 14 * 60

// ParseTime parses a time in the form of RFC 3339, like 2026-01-31T15:04:05.123Z. It is false for times before
// 1970. It is stricter than time.Parse, which also accepts hours of one digit, a comma before the fraction
// and an offset of a day.
func ParseTime(s string) (time.Time, bool) {
	const form = "0000-00-00T00:00:00"
	if len(s) <= len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if digit := s[i] >= '0' && s[i] <= '9'; digit != (form[i] == '0') || !digit && s[i] != form[i] {
			return time.Time{}, false
		}
	}
	rest := s[len(form):]
	if rest[0] == '.' {
		digits := 0
		for digits+1 < len(rest) && rest[digits+1] >= '0' && rest[digits+1] <= '9' {
			digits++
		}
		if digits == 0 || digits > 9 {
			return time.Time{}, false
		}
		rest = rest[digits+1:]
	}
	if rest != "Z" && !isOffset(rest) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && t.Unix() >= 0
}

// isOffset reports whether s is an offset of at most mostOffset, like +05:30.
func isOffset(s string) bool {
	if len(s) != len("+00:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return false
	}
	for _, i := range []int{1, 2, 4, 5} {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	hours, minutes := int(s[1]-'0')*10+int(s[2]-'0'), int(s[4]-'0')*10+int(s[5]-'0')
	return minutes < 60 && hours*60+minutes <= mostOffset
}
