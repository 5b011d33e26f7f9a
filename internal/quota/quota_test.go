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
	used := func() (text string) {
		all, err := s.Used(t.Context(), []string{"globex", "acme"})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range all {
			if u.Client != "acme" || !u.Until.After(time.Now().Add(-time.Minute)) || time.Until(u.Until) > 31*24*time.Hour {
				t.Errorf("%+v", u)
			}
			text += fmt.Sprintf("%s %d/%d -%d;", u.Quota, u.Used, u.Limit, u.Refused)
		}
		return text
	}
	if got := used(); got != "per_day 5/5 -2;marketing.per_month 2/2 -1;" {
		t.Errorf("used: %s", got)
	}
	refused, back = s.Take(t.Context(), of("acme", m, u))
	if got := full(refused); got != "per_day 5;per_day 5;" {
		t.Errorf("over: %s", got)
	}
	if back([]int{1}); used() != "per_day 5/5 -3;marketing.per_month 2/2 -1;" {
		t.Errorf("after a refusal was taken back: %s", used())
	}
}

// TestRefusedOfASecond: what a quota per second refuses is counted by day, because a second is over when an operator reads it.
func TestRefusedOfASecond(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	s := quota.New(db, func(string) (q config.Quotas) {
		q.PerSecond = 1
		return q
	})
	refused := 0
	for range 3 { // of which one second can begin at most
		errs, _ := s.Take(t.Context(), []message.Message{{Client: "acme"}, {Client: "acme"}})
		for _, err := range errs {
			if err != nil {
				refused++
			}
		}
	}
	db.HSet(t.Context(), "sluice:quota:{acme}", "per_second", "1 9") // another second has begun
	period, _, _ := strings.Cut(db.HGet(t.Context(), "sluice:quota:{acme}", "refused:per_second").Val(), " ")
	if day := time.Now().UTC().Unix() / 86400; period != fmt.Sprint(day) && period != fmt.Sprint(day-1) {
		t.Errorf("refusals are counted in the period %s, want the day %d", period, day)
	}
	all, err := s.Used(t.Context(), []string{"acme"})
	if err != nil || refused < 3 || len(all) != 1 || all[0].Refused != refused || all[0].Used != 0 {
		t.Errorf("%+v %v, refused %d", all, err, refused)
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

// TestQuotasBeforeTheRefusalsWereCounted: a program of a version that did not count refusals and one of this version count together: each
// knows the counters of the other one.
func TestQuotasBeforeTheRefusalsWereCounted(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	s := quota.New(db, func(string) (q config.Quotas) {
		q.PerMonth = 5
		return q
	})
	const key = "sluice:quota:{acme}"
	one := []message.Message{{Client: "acme"}}
	s.Take(t.Context(), one)
	value := db.HGet(t.Context(), key, "per_month").Val()
	before, is := strings.CutSuffix(value, " 1") // the older form: the period and how many
	if !is || strings.Contains(before, " ") {
		t.Fatalf("%q is not as the version before wrote it", value)
	}
	db.Del(t.Context(), key)
	db.HSet(t.Context(), key, "per_month", before+" 4")
	for range 2 {
		s.Take(t.Context(), one)
	}
	all, err := s.Used(t.Context(), []string{"acme"})
	if err != nil || len(all) != 1 || all[0].Used != 5 || all[0].Refused != 1 {
		t.Errorf("%+v %v", all, err)
	}
	if got := db.HGet(t.Context(), key, "per_month").Val(); got != before+" 5" { // also after a refusal
		t.Errorf("the version before would read %q", got)
	}
}
