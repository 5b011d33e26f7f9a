package fleet

import (
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/observed"
)

func TestAttentionAndSpeed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	n := func(change func(*Number)) Number {
		one := Number{ID: "7", Rate: 80, Limit: 80, Configured: 80}
		change(&one)
		return one
	}
	seven := 7
	hold := func(h httpapi.Hold) NumberHold { return NumberHold{h, &seven} }
	whole := hold(httpapi.Hold{Number: "7", Actor: "sluice", Reason: "Access token expired.", Code: 190})
	busy := func(o *Number) {
		o.Waiting, o.Active, o.Attempts, o.Classes = 900, 5, 79, []WaitingClass{{Class: message.Utility, Waiting: 900, Oldest: 60}}
	}
	for name, c := range map[string]struct {
		number Number
		idle   time.Duration
		want   Attention
		why    string
		speed  string
	}{
		"idle":             {n(func(*Number) {}), time.Hour, None, "", "No message waits."},
		"at its limit":     {n(busy), 0, None, "", "at its rate limit of 80"},
		"not at its limit": {n(func(o *Number) { busy(o); o.Attempts = 3 }), 0, None, "", "sends all that is due"},
		"only later":       {n(func(o *Number) { o.Later = 2 }), 0, None, "", "2 messages wait for their time"},
		"held by Meta's answer": {
			n(func(o *Number) { busy(o); o.HeldAll, o.Held, o.Holds = true, 900, []NumberHold{whole} }), time.Hour, Act,
			"Sluice holds it, because Access token expired. Meta's code is 190", "It sends nothing, because sluice holds it: Access token expired.",
		},
		"held for seconds": {n(func(o *Number) {
			o.HeldAll, o.Holds = true, []NumberHold{hold(httpapi.Hold{Number: "7", Actor: "sluice", Reason: "Redis lost writes", Until: now.Add(time.Hour), Since: now.Add(-59 * time.Second)})}
		}), 0, Look, "Held (number 7): Redis lost writes.", "sluice holds it"},
		"held for a minute, with an end": {n(func(o *Number) {
			o.HeldAll, o.Holds = true, []NumberHold{hold(httpapi.Hold{Number: "7", Actor: "sluice", Reason: "Blocked", Since: now.Add(-time.Minute), Until: now.Add(time.Minute)})}
		}), 0, Act, "Sluice holds it, because Blocked.", "sluice holds it"},
		"held after a restore": {n(func(o *Number) {
			o.HeldAll, o.Holds = true, []NumberHold{hold(httpapi.Hold{Actor: "sluice: restored", Reason: "Redis was restored"})}
		}), 0, Act, "Redis was restored", "holds it"},
		"held by an operator": {n(func(o *Number) {
			busy(o)
			o.Classes[0].Oldest = 1e6
			o.HeldAll, o.Held, o.Holds = true, 900, []NumberHold{hold(httpapi.Hold{Actor: "anna", Reason: "wrong price"})}
		}), time.Hour, Look, "Held (all): wrong price.", "because anna holds it: wrong price."},
		"a template held": {n(func(o *Number) {
			o.Waiting, o.Held, o.Holds = 7, 7, []NumberHold{hold(httpapi.Hold{Number: "7", Template: "a/en", Actor: "sluice", Reason: "paused", Code: 132015})}
		}), time.Hour, Look, "Held (template a/en of number 7): paused. Meta's code is 132015", "keep all 7 waiting messages"},
		"a tag held, no messages": {n(func(o *Number) { o.Holds = []NumberHold{{Hold: httpapi.Hold{Tag: "x", Actor: "anna", Reason: "x"}}} }), 0, None, "", "No message waits."},
		"too old":                 {n(func(o *Number) { busy(o); o.Classes[0].Oldest = 15*60 + 1 }), 0, Act, "oldest utility message has waited for more than 15m0s", "at its rate limit"},
		"old marketing":           {n(func(o *Number) { busy(o); o.Classes[0].Class, o.Classes[0].Oldest = message.Marketing, 12*3600+1 }), 0, Look, "oldest marketing message", "at its rate limit"},
		"a pause":                 {n(func(o *Number) { busy(o); o.Active, o.Attempts, o.PauseUntil = 0, 0, now.Add(time.Second) }), time.Hour, None, "", "It pauses for 1s"},
		"no worker":               {n(func(o *Number) { busy(o); o.Active, o.Attempts = 0, 0 }), time.Minute, Act, "Check that workers run", "no worker has fetched any"},
		"only slow campaigns":     {n(func(o *Number) { busy(o); o.Active, o.Attempts, o.Slowed = 0, 0, 900 }), time.Hour, None, "", "900 messages wait for the rates"},
		"more than slow ones":     {n(func(o *Number) { busy(o); o.Active, o.Attempts, o.Slowed = 0, 0, 899 }), time.Hour, Act, "Check that workers run", "no worker has fetched any"},
		"no worker for a moment":  {n(func(o *Number) { busy(o); o.Active, o.Attempts = 0, 0 }), 59 * time.Second, None, "", "no worker has fetched any"},
		"parked":                  {n(func(o *Number) { o.Parked, o.Dead = 1, 1 }), 0, Look, "1 message waits for an operator", "No message"},
		"dead letters":            {n(func(o *Number) { o.Dead, o.Awaiting = 2, 1 }), 0, Look, "2 dead letters.", "No message"},
		"awaiting":                {n(func(o *Number) { o.Awaiting = 1 }), 0, Look, "1 message has no status", "No message"},
		"100 awaiting":            {n(func(o *Number) { o.Awaiting, o.Dead = 100, 1 }), 0, Look, "1 dead letter", "No message"},
		"101 awaiting":            {n(func(o *Number) { o.Awaiting, o.Dead = 101, 1 }), 0, Act, "101 messages have no status", "No message"},
		"throttled":               {n(func(o *Number) { busy(o); o.Rate, o.Attempts, o.RefusedAt = 40, 39, 80 }), 0, Look, "refused messages at 80", "It sends 40 of 80"},
		"a ramp": {n(func(o *Number) {
			busy(o)
			o.Rate, o.Attempts, o.SetRate, o.Limit, o.RampUntil = 20, 20, 80, 80, now.Add(time.Hour)
		}), 0, None, "", "increases to 80 until"},
		"a token that is not valid":   {n(func(o *Number) { o.Meta.Token = &observed.Token{} }), 0, Act, "access token is not valid", "No message"},
		"a token that expires in 2 d": {n(func(o *Number) { o.Meta.Token = &observed.Token{Valid: true, Expires: now.Add(71 * time.Hour)} }), 0, Act, "access token expires on", "No message"},
		"a token that expires in 3 d": {n(func(o *Number) { o.Meta.Token = &observed.Token{Valid: true, Expires: now.Add(73 * time.Hour)} }), 0, Look, "access token expires on", "No message"},
		"a token for 14 days":         {n(func(o *Number) { o.Meta.Token = &observed.Token{Valid: true, Expires: now.Add(337 * time.Hour)} }), 0, None, "", "No message"},
		"a token without an end":      {n(func(o *Number) { o.Meta.Token = &observed.Token{Valid: true} }), 0, None, "", "No message"},
		"quality RED":                 {n(func(o *Number) { o.Meta.Profile = &observed.Profile{Quality: "RED"} }), 0, Look, "quality RED", "No message"},
		"quality YELLOW":              {n(func(o *Number) { o.Meta.Profile = &observed.Profile{Quality: "YELLOW"} }), 0, None, "", "No message"},
		"too fast":                    {n(func(o *Number) { busy(o); o.Throttled = 1.5 }), 0, None, "", "Meta refused 1.5 messages per second in the last minute"},
		"paused in asynq":             {n(func(o *Number) { busy(o); o.Classes[0].Paused = true }), 0, Look, "class utility is paused", "class utility is paused"},
	} {
		got, why := attention(c.number, c.idle, now)
		if said := speed(c.number, now); got != c.want || !strings.Contains(why, c.why) || (why == "") != (c.want == None) || !strings.Contains(said, c.speed) {
			t.Errorf("%s: %q %q %q, want %q %q %q", name, got, why, said, c.want, c.why, c.speed)
		}
	}
}

// TestBudgetsAreThoseOfTheAlert: the overview must not say that all is well while SluiceQueueOld fires.
func TestBudgetsAreThoseOfTheAlert(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[message.Class]time.Duration{}
	for _, m := range regexp.MustCompile(`record: sluice:queue_age_budget:seconds\s+expr: vector\((\d+)\)\s+labels: {class: (\w+)}`).FindAllStringSubmatch(string(rules), -1) {
		seconds, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		got[message.Class(m[2])] = time.Duration(seconds) * time.Second
	}
	if !maps.Equal(got, ageBudgets) {
		t.Errorf("rules.yml has the budgets %v, judge.go %v", got, ageBudgets)
	}
}

func TestSortAndHeadline(t *testing.T) {
	t.Parallel()
	all := []Number{{ID: "1"}, {ID: "2", Waiting: 5}, {ID: "3", Attention: Look, Why: "Old."}, {ID: "4", Attention: Act, Why: "Down."}, {ID: "5", Attention: Act, Why: "Worse.", Later: 1}}
	if got, want := Headline(all), "2 numbers need a person now. Begin with 5: Worse. Look at 1 number today."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Headline(all[:3]), "No number needs a person now. Look at 1 number today."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	partial := []Number{{ID: "1", Partial: true}}
	if got, want := Headline(partial), "No number needs a person now. A list is too long to count its messages by number: look at In doubt and Dead letters too."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if all[0].ID != "1" {
		t.Error("Headline changed the order of its argument")
	}
	Sort(all)
	order := ""
	for _, n := range all {
		order += n.ID
	}
	if order != "54321" {
		t.Errorf("order %s", order)
	}
}
