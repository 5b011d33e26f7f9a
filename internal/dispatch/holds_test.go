package dispatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/queue"
)

func messageIDs(tasks []queue.Task) (all []string) {
	for _, t := range tasks {
		all = append(all, t.ID)
	}
	return all
}

// TestHolds: a hold keeps what it is on, without a slot; the rest goes. Lifted, what it kept
// goes in its order, before what came meanwhile.
func TestHolds(t *testing.T) {
	t.Parallel()
	const template = "sale/en_US"
	for name, tt := range map[string]struct {
		on   message.Hold
		kept bool // of the first tasks; the second are another template's, without tags
		all  bool // the second tasks are kept too
	}{
		"number":               {message.Hold{Number: phone}, true, true},
		"another number":       {message.Hold{Number: "1999"}, false, false},
		"all":                  {message.Hold{}, true, true},
		"template":             {message.Hold{Number: phone, Template: template}, true, false},
		"another template":     {message.Hold{Number: phone, Template: "sale/de"}, false, false},
		"tag":                  {message.Hold{Tag: "spring: 50% off"}, true, false},
		"tag of the number":    {message.Hold{Number: phone, Tag: "spring: 50% off"}, true, false},
		"tag of another":       {message.Hold{Number: "1999", Tag: "spring: 50% off"}, false, false},
		"another tag":          {message.Hold{Tag: "autumn"}, false, false},
		"campaign":             {message.Hold{Client: "acme", Campaign: "spring"}, true, false},
		"campaign, the number": {message.Hold{Number: phone, Client: "acme", Campaign: "spring"}, true, false},
		"of another client":    {message.Hold{Client: "globex", Campaign: "spring"}, false, false},
		"of no client":         {message.Hold{Campaign: "spring"}, false, false},
		"over, by itself":      {message.Hold{Until: time.Now().Add(-time.Second)}, false, false},
		"tag and then the all": {message.Hold{Tag: "b"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setupRecords(t)
			hs := f.holds()
			tasks := many(6, phone, message.Utility)
			first, second := tasks[:3], tasks[3:]
			f.record(first, Candidate{Template: template, Tags: []string{"a", "spring: 50% off", "b"}, Flow: message.Flow{Client: "acme", Campaign: "spring"}})
			f.record(second, Candidate{Template: "order/en_US"})
			f.add(first...)
			f.add(second...)
			tt.on.By, tt.on.Reason = "anna", "quality"
			if _, err := hs.Set(t.Context(), tt.on); err != nil {
				t.Fatal(err)
			}
			want, rest := messageIDs(tasks), []string(nil)
			switch {
			case tt.all:
				want, rest = nil, messageIDs(tasks)
			case tt.kept:
				want, rest = messageIDs(second), messageIDs(first)
			}
			g, _ := f.gate("w", Number{ID: phone, Rate: 80})
			n := g.number(phone)
			if got := take(t, g, n, 100); !slices.Equal(got, want) {
				t.Fatalf("taken %q, want %q", got, want)
			}
			held, err := hs.On(t.Context(), message.Context{From: phone, Template: template, Tags: []string{"a", "spring: 50% off", "b"}, Client: "acme", Campaign: "spring"})
			if err != nil || (len(held) == 1) != tt.kept {
				t.Errorf("explained by %+v, %v", held, err)
			}
			if !tt.kept {
				return
			}
			if !held[0].Concerns(message.Context{From: phone, Template: template, Tags: []string{"b", "spring: 50% off"}, Client: "acme", Campaign: "spring"}) {
				t.Errorf("%s does not concern its messages", held[0].On())
			}
			if err := n.lease.Write(0); err != nil {
				t.Fatal(err)
			}
			if g.tidyUp(t.Context(), n, true); len(take(t, g, n, 100)) != 0 {
				t.Error("a held task went")
			}
			late := queue.Task{ID: phone + "-late", K: 1, Number: phone, Class: message.Utility}
			f.record([]queue.Task{late}, Candidate{})
			f.add(late)
			if ok, err := hs.Release(t.Context(), message.Hold{Number: tt.on.Number, Template: tt.on.Template, Tag: tt.on.Tag, Client: tt.on.Client, Campaign: tt.on.Campaign, By: "ben", Reason: "mended"}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			g.tidyUp(t.Context(), n, true)
			if got := take(t, g, n, 100); !slices.Equal(got, append(rest, late.ID)) {
				t.Errorf("after the hold %q, want %q", got, append(rest, late.ID))
			}
			if ok, err := hs.Release(t.Context(), tt.on); ok || err != nil {
				t.Errorf("lifted twice: %t, %v", ok, err)
			}
			if got, want := f.deeds(), "hold "+tt.on.On()+" anna quality; release "+tt.on.On()+" ben mended; "; got != want {
				t.Errorf("noted %q, want %q", got, want)
			}
		})
	}
}

// deeds are those of the trails of all shards, the first first in each.
func (f *fixture) deeds() (all string) {
	f.t.Helper()
	for _, s := range shards.All() {
		entries, err := f.db.XRange(f.t.Context(), audit.Key(s), "-", "+").Result()
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range entries {
			var d message.AuditEntry
			if err := json.Unmarshal([]byte(e.Values[audit.Field].(string)), &d); err != nil {
				f.t.Fatal(err)
			}
			all += fmt.Sprintf("%s %s %s %s; ", d.Verb, d.On, d.Actor, d.Reason)
		}
	}
	return all
}

// TestWhatWasRefusedGoesFirst: at the end of a hold, whether of a number or of a template, those that
// ran into the refusal go at once, in their order and before those that were kept.
func TestWhatWasRefusedGoesFirst(t *testing.T) {
	t.Parallel()
	const template = "sale/en_US"
	for name, on := range map[string]message.Hold{
		"number": {Number: phone}, "template": {Number: phone, Template: template},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setupRecords(t)
			hs := f.holds()
			tasks := many(2*tidyMost, phone, message.Utility)
			f.record(tasks, Candidate{Template: template})
			f.add(tasks...)
			g, _ := f.gate("w", Number{ID: phone, Rate: 80})
			n := g.number(phone)
			first := take(t, g, n, 4)
			on.By, on.Reason = "sluice", "quality"
			if _, err := hs.Set(t.Context(), on); err != nil {
				t.Fatal(err)
			}
			for _, i := range []int{2, 0, 3, 1} { // the answers come in another order
				task := n.lease.Task(taskID(first[i], 1))
				n.running++
				n.returned(task, Later{Hold: holds.Name(on)})
				n.leave(n.retried(task, "", 0))
				if err := n.lease.Write(0); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all are kept", func() bool {
				g.tidyUp(t.Context(), n, true)
				return len(take(t, g, n, 100)) == 0 && (on.Template == "" || f.held(template) == int64(len(tasks)-len(first)))
			})
			if ok, err := hs.Release(t.Context(), on); !ok || err != nil {
				t.Fatal(ok, err)
			}
			for g.tidyUp(t.Context(), n, true) {
			}
			var got []string
			eventually(t, "they go", func() bool { got = append(got, take(t, g, n, 100)...); return len(got) >= 8 })
			if want := messageIDs(tasks[:8]); !slices.Equal(got[:8], want) {
				t.Errorf("%q go, want %q", got[:8], want)
			}
		})
	}
}

// TestATemplateProbes: when the time of such a hold is over one task goes, the one that was refused, and
// after a while the next; all go when the hold is lifted or has probed for long enough.
func TestATemplateProbes(t *testing.T) {
	t.Parallel()
	const template = "sale/en_US"
	f := setupRecords(t)
	hs := f.holds()
	tasks := many(20, phone, message.Utility)
	f.record(tasks, Candidate{Template: template})
	f.add(tasks...)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	refusal := take(t, g, n, 1)[0]
	on := message.Hold{Number: phone, Template: template, By: "sluice", Reason: "paused", Until: time.Now().Add(time.Hour), Probe: time.Hour}
	if _, err := hs.Set(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	task := n.lease.Task(taskID(refusal, 1))
	n.running++
	n.returned(task, Later{Hold: holds.Name(on)})
	n.leave(n.retried(task, "", 0))
	if err := n.lease.Write(0); err != nil {
		t.Fatal(err)
	}
	look := func() []string {
		for g.tidyUp(t.Context(), n, true) {
		}
		return take(t, g, n, 100)
	}
	eventually(t, "all are kept", func() bool { return len(look()) == 0 && f.held(template) == 19 })
	over := func(until time.Duration) { // the hold has lasted for so long
		t.Helper()
		key := holds.Key(shards.Of(phone))
		value := f.db.HGet(t.Context(), key, holds.Name(on)).Val()
		_, about, _ := strings.Cut(value, " ")
		f.db.HSet(t.Context(), key, holds.Name(on), fmt.Sprintf("%d+%d %s", time.Now().Add(-until).UnixMilli(), time.Hour.Milliseconds(), about))
	}
	over(time.Second)
	if got := look(); !slices.Equal(got, []string{refusal}) {
		t.Fatalf("first %q, want %q", got, refusal)
	}
	for range 3 {
		if got := look(); len(got) > 0 {
			t.Fatalf("then %q", got)
		}
	}
	list, err := hs.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Until.Before(time.Now()) {
		t.Errorf("listed while it probes: %+v, %v", list, err)
	}
	over(time.Second)
	if got := look(); !slices.Equal(got, messageIDs(tasks[1:2])) {
		t.Fatalf("the next is %q", got)
	}
	over(2 * time.Hour)
	if got := look(); len(got) < 3 || !slices.Equal(got, messageIDs(tasks[2:2+len(got)])) {
		t.Errorf("at last %q", got)
	}
}

// A paused template's hundred thousand messages are set aside some hundreds a look, without a
// slot: the urgent ones do not notice, those behind wait for it once, and nothing after them.
func TestAHundredThousandHeldSlowNobody(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	const template, held = "campaign/en_US", 100_000
	if _, err := f.holds().Set(t.Context(), message.Hold{Number: phone, Template: template, By: "anna", Reason: "quality"}); err != nil {
		t.Fatal(err)
	}
	all := many(3, phone, message.Marketing)
	pattern, behind, after := all[:1], all[1:2], all[2:]
	urgent := many(1, phone, message.Authentication)
	f.add(pattern...)
	f.record(pattern, Candidate{Template: template})
	f.copies(pattern[0], held-1)
	f.add(behind...)
	f.add(urgent...)
	f.record(behind, Candidate{})
	f.record(urgent, Candidate{})

	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	if got := take(t, g, n, 10); !slices.Equal(got, messageIDs(urgent)) {
		t.Fatalf("first %q", got)
	}
	for looks := 0; ; looks++ {
		got := take(t, g, n, 10)
		if slices.Equal(got, messageIDs(behind)) {
			break
		}
		if len(got) > 0 || looks > held/500 {
			t.Fatalf("look %d: %q", looks, got)
		}
	}
	eventually(t, "all are set aside", func() bool { return f.held(template) == held })
	f.add(after...)
	f.record(after, Candidate{})
	if got := take(t, g, n, 10); !slices.Equal(got, messageIDs(after)) {
		t.Errorf("afterwards %q", got)
	}
}

// copies adds n tasks of a class and their records, like one that is there.
func (f *fixture) copies(of queue.Task, n int) {
	f.t.Helper()
	k := queue.KeysOf(shards.Of(of.Number), of.Number, of.Class)
	const script = `
local task = redis.call('HGETALL', KEYS[2] .. ARGV[1] .. '.1')
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local id = ARGV[1] .. '-' .. i
  redis.call('HSET', KEYS[2] .. id .. '.1', unpack(task))
  redis.call('LPUSH', KEYS[1], id .. '.1')
end`
	const part = 10_000 // no busy machine takes so long for it that Redis refuses other commands
	for first := 1; first <= n; first += part {
		err := f.db.Eval(f.t.Context(), script, []string{k.Pending, k.Task}, of.ID, first, min(first+part-1, n)).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			f.t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range n {
		f.records[fmt.Sprint(of.ID, "-", i+1)] = f.records[of.ID]
	}
}

// held is how many tasks are set aside for a template.
func (f *fixture) held(template string) int64 {
	return f.db.LLen(f.t.Context(), queue.HeldKey(shards.Of(phone), phone)+":template:"+phone+":"+template).Val()
}
