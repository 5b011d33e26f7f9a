package quota_test

import (
	"errors"
	"fmt"
	"testing"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/quota"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestQuotas: a message counts only if no quota of its client and class is used up. What is taken back does not count.
func TestQuotas(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	s := quota.New(db, func(client string) (q config.Quotas) {
		if client == "acme" {
			q.PerDay = 5
			q.Classes = map[string]config.Quota{"marketing": {PerMonth: 2}}
		}
		return q
	})
	of := func(client string, classes ...message.Class) (all []message.Message) {
		for _, c := range classes {
			all = append(all, message.Message{Client: client, Class: c})
		}
		return all
	}
	full := func(errs []error) (text string) {
		for _, err := range errs {
			name := "-"
			if e, is := errors.AsType[*message.QuotaError](err); is {
				name = fmt.Sprint(e.Quota, " ", e.Limit)
			} else if err != nil {
				t.Fatal(err)
			}
			text += name + ";"
		}
		return text
	}
	const m, u = message.Marketing, message.Utility
	if got := s.Take(t.Context(), of("globex", m, u)); got != nil {
		t.Errorf("a client without quotas: %v", got)
	}
	if got := full(s.Take(t.Context(), append(of("acme", m, m, m, u), of("", u)...))); got != "-;-;marketing.per_month 2;-;-;" {
		t.Errorf("the first batch: %s", got)
	}
	if got := full(s.Take(t.Context(), of("acme", u, u, u))); got != "-;-;per_day 5;" {
		t.Errorf("the second batch: %s", got)
	}
	s.Return(t.Context(), of("acme", m))
	if got := full(s.Take(t.Context(), of("acme", m, m))); got != "-;per_day 5;" {
		t.Errorf("after one was taken back: %s", got)
	}
}
