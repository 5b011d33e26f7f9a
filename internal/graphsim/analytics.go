package graphsim

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// analytics are the fields of an account whose names have their parameters: analytics.start(1).end(2).granularity(DAY). See
// https://developers.facebook.com/documentation/business-messaging/whatsapp/analytics
var analytics = []string{"analytics", "conversation_analytics", "pricing_analytics", "template_analytics"}

var analyticsParameter = regexp.MustCompile(`\.([a-z_]+)\(([^)]*)\)`)

// mostPoints is the most data points of an answer.
const mostPoints = 5000

// analyticsOf returns the value of an analytics field, counted from the list of accepted messages, and what is wrong with the field.
func (s *Sim) analyticsOf(field string, given map[string]string) (any, *denial) {
	from, errFrom := strconv.ParseInt(given["start"], 10, 64)
	to, errTo := strconv.ParseInt(given["end"], 10, 64)
	steps := map[string]time.Duration{"HALF_HOUR": 30 * time.Minute, "DAY": day, "DAILY": day, "MONTH": 30 * day, "MONTHLY": 30 * day}
	granularity := strings.ToUpper(given["granularity"])
	step := steps[granularity]
	switch {
	case errFrom != nil:
		return nil, required("start")
	case errTo != nil || to <= from:
		return nil, required("end")
	case step == 0:
		return nil, required("granularity")
	case (to-from)/int64(step/time.Second) > mostPoints:
		return nil, invalid("The time range has too many data points.")
	}
	type point struct{ sent, delivered int }
	counts := make([]point, (to-from+int64(step/time.Second)-1)/int64(step/time.Second))
	var numbers []string
	st := s.standing.Load()
	for a := range s.ledger.all() {
		at := a.Start.Unix()
		if at < from || at >= to || field == "template_analytics" && a.Type != "template" {
			continue
		}
		p := &counts[(at-from)/int64(step/time.Second)]
		p.sent++
		if !a.Reported.IsZero() {
			p.delivered++
		}
		if n := st.digits(a.Number); !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	points := []any{}
	for i, p := range counts {
		start := from + int64(i)*int64(step/time.Second)
		entry := map[string]any{"start": start, "end": min(start+int64(step/time.Second), to)}
		switch {
		case p.sent == 0:
			continue
		case field == "conversation_analytics":
			entry["conversation"], entry["cost"] = p.sent, 0
		case field == "pricing_analytics":
			entry["volume"], entry["cost"] = p.sent, 0
		default:
			entry["sent"], entry["delivered"] = p.sent, p.delivered
		}
		points = append(points, entry)
	}
	if field == "analytics" {
		return map[string]any{"phone_numbers": numbers, "granularity": granularity, "data_points": points}, nil
	}
	return map[string]any{"data": []any{map[string]any{"granularity": granularity, "data_points": points}}}, nil
}

// accountAnalytics adds the analytics fields that a call names to the fields of the account. It answers the call itself and returns
// false if one is wrong.
func (s *Sim) accountAnalytics(w http.ResponseWriter, r *http.Request, all map[string]any) bool {
	for _, text := range fieldsOf(r) {
		name, _, has := strings.Cut(text, ".")
		if !has || !slices.Contains(analytics, name) {
			continue
		}
		given := map[string]string{}
		for _, found := range analyticsParameter.FindAllStringSubmatch(text, -1) {
			given[found[1]] = found[2]
		}
		value, d := s.analyticsOf(name, given)
		if d != nil {
			s.deny(w, d)
			return false
		}
		all[name] = value
	}
	return true
}

// analyticsEdge answers GET /{version}/{account}/{field} of an analytics field, with its parameters in the query.
func (s *Sim) analyticsEdge(w http.ResponseWriter, r *http.Request) {
	field := r.PathValue("edge")
	if !slices.Contains(analytics, field) {
		s.unsupported(w, r)
		return
	}
	if _, ok := s.manages(w, r); !ok {
		return
	}
	given := map[string]string{}
	for name, values := range r.URL.Query() {
		given[name] = values[0]
	}
	value, d := s.analyticsOf(field, given)
	if d != nil {
		s.deny(w, d)
		return
	}
	s.succeed(w, value)
}

// fieldsOf returns the fields that a call names. A comma in parentheses or braces belongs to a field.
func fieldsOf(r *http.Request) (names []string) {
	depth, from := 0, 0
	text := r.URL.Query().Get("fields")
	for i, c := range text {
		switch c {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth--
		case ',':
			if depth == 0 {
				names = append(names, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
	}
	if text != "" {
		names = append(names, strings.TrimSpace(text[from:]))
	}
	return names
}
