package quota_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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
	take := func(all ...message.Message) string {
		errs, _ := s.Take(t.Context(), all)
		return full(errs)
	}
	const m, u = message.Marketing, message.Utility
	if got, _ := s.Take(t.Context(), of("globex", m, u)); got != nil {
		t.Errorf("a client without quotas: %v", got)
	}
	if got := take(append(of("acme", m, m, m, u), of("", u)...)...); got != "-;-;marketing.per_month 2;-;-;" {
		t.Errorf("the first batch: %s", got)
	}
	refused, back := s.Take(t.Context(), of("acme", u, u, u))
	if got := full(refused); got != "-;-;per_day 5;" {
		t.Errorf("the second batch: %s", got)
	}
	back([]int{1})
	if got := take(of("acme", u, u)...); got != "-;per_day 5;" {
		t.Errorf("after one was taken back: %s", got)
	}
}

// TestNextPeriod: what is taken back after its period has ended does not count for the next one, whose messages count all.
func TestNextPeriod(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	s := quota.New(db, func(string) (q config.Quotas) {
		q.PerDay, q.PerMonth = 5, 7
		return q
	})
	all := []message.Message{{Client: "acme", Class: message.Utility}, {Client: "acme", Class: message.Utility}}
	_, back := s.Take(t.Context(), all)
	const key = "sluice:quota:{acme}"
	day, month := time.Now().UTC().Unix()/86400, db.HGet(t.Context(), key, "per_month").Val()
	if got := db.HGet(t.Context(), key, "per_day").Val(); got != fmt.Sprint(day, " 2") && got != fmt.Sprint(day+1, " 2") {
		t.Errorf("in the day: %q", got)
	}
	db.HSet(t.Context(), key, "per_day", "99999 3") // the next day has begun
	back([]int{0})
	if got := db.HGet(t.Context(), key, "per_day").Val(); got != "99999 3" {
		t.Errorf("in the next day: %q", got)
	}
	if got := db.HGet(t.Context(), key, "per_month").Val(); strings.TrimSuffix(month, " 2")+" 1" != got {
		t.Errorf("in the month: %q, was %q", got, month)
	}
}
