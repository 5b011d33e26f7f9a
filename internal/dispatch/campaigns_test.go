package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
)

// gates are Campaigns by what a test says. Of a campaign with a cap so many more messages may go.
type gates struct {
	of   map[message.Flow]message.Gate
	left map[message.Flow]int
}

func (g *gates) Gate(f message.Flow) message.Gate { return g.of[f] }

func (g *gates) Admit(_ context.Context, all []message.CapAsk) ([]bool, error) {
	may := make([]bool, len(all))
	for i, ask := range all {
		if may[i] = g.left[ask.Flow] > 0; may[i] {
			g.left[ask.Flow]--
		} else {
			g.of[ask.Flow] = message.Gate{Closed: true, Capped: true}
		}
	}
	return may, nil
}

// sentIn fetches as a dispatcher does while a time passes, finishes what it gets, and returns the times at which each flow got tasks, and
// how many fetches there were.
func sentIn(t *testing.T, c *clock, g *dispatcher, n *number, from, length time.Duration) (map[message.Flow][]time.Duration, int) {
	t.Helper()
	got, fetches := map[message.Flow][]time.Duration{}, 0
	for at := from; at < from+length; {
		c.set(at)
		near(n)
		g.tidyUp(t.Context(), n, true)
		tasks, next, err := g.fetch(t.Context(), n, 100)
		if err != nil {
			t.Fatal(err)
		}
		fetches++
		var ids []string
		for _, task := range tasks {
			ids = append(ids, task.Message)
			got[flowOf(task.Message)] = append(got[flowOf(task.Message)], at)
		}
		c.f.end(g, n, queue.Finished, ids...)
		at += min(max(next, 5*time.Millisecond), tidyEvery)
	}
	return got, fetches
}

// TestRateOfACampaign: a campaign with a rate gets its tasks at this rate and no faster, alone at its number and beside others, which
// use the other slots. The number is not asked more often than one that sends all the time, and what was deleted costs the rate nothing.
func TestRateOfACampaign(t *testing.T) {
	t.Parallel()
	slow, fast, free := message.Flow{Client: "a", Campaign: "slow"}, message.Flow{Client: "a", Campaign: "fast"}, message.Flow{Client: "a", Campaign: "free"}
	codes := message.Flow{Client: "a"}
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprint("alone ", alone), func(t *testing.T) {
			t.Parallel()
			f := setupRecords(t)
			c := f.stopClock()
			g, n := c.gate("w", 80)
			g.o.Campaigns = &gates{of: map[message.Flow]message.Gate{slow: {Every: 2 * time.Second}, fast: {Every: 50 * time.Millisecond}}}
			f.flow(100, slow, message.Marketing)
			f.flow(400, fast, message.Utility)
			deleted := queue.KeysOf(shards.Of(phone), phone, message.Marketing)
			for i := range 90 { // as those of messages that expired
				id := fmt.Sprintf("%s-a_slow_marketing%d", phone, i)
				f.record([]queue.Task{{ID: id}}, Candidate{Verdict: Void})
				f.db.Del(t.Context(), deleted.Task+id+".1")
			}
			if !alone {
				f.flow(2000, free, message.Marketing)
				f.flow(100, codes, message.Authentication)
			}
			got, fetches := sentIn(t, c, g, n, 0, 10*time.Second)
			for flow, every := range map[message.Flow]time.Duration{slow: 2 * time.Second, fast: 50 * time.Millisecond} {
				times, want := got[flow], int(10*time.Second/every)
				if len(times) < want*4/5 || // codes go first
					len(times) > want+3 {
					t.Errorf("%s got %d tasks in 10 s, want %d", flow.Campaign, len(times), want)
				}
				for i := range times { // never more than the rate lets go in any time, and what may be fetched ahead
					for k := i; k < len(times); k++ {
						if most := int((times[k]-times[i]+100*time.Millisecond)/every) + 1; k-i+1 > most {
							t.Fatalf("%s got %d tasks from %v to %v, want at most %d", flow.Campaign, k-i+1, times[i], times[k], most)
						}
					}
				}
			}
			if !alone {
				if all := len(got[slow]) + len(got[fast]) + len(got[free]) + len(got[codes]); all < 780 || len(got[codes]) != 100 {
					t.Errorf("%d tasks in 10 s, %d of them codes, want 800 and 100", all, len(got[codes]))
				}
				if last := got[codes][99]; last > 1500*time.Millisecond {
					t.Errorf("the last code left after %v", last)
				}
			}
			if fetches > 10*25 {
				t.Errorf("%d fetches in 10 s", fetches)
			}
			t.Logf("%d fetches, slow %d, fast %d, free %d, codes %d", fetches, len(got[slow]), len(got[fast]), len(got[free]), len(got[codes]))
		})
	}
}

// TestACampaignThatIsClosed: what the cap of its campaign keeps stays in its flow, in its order; the number is asked no more often than one
// that is held. It goes on when the campaign opens again.
func TestACampaignThatIsClosed(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	capped := message.Flow{Client: "a", Campaign: "x"}
	all := &gates{of: map[message.Flow]message.Gate{capped: {Capped: true}}, left: map[message.Flow]int{capped: 12}}
	g.o.Campaigns = all
	f.flow(30, capped, message.Marketing)
	list := queue.FlowKey(shards.Of(phone), phone, message.Marketing.Order(), capped)
	want := f.db.LRange(t.Context(), list, 0, 17).Val()
	got, _ := sentIn(t, c, g, n, 0, 2*time.Second)
	if len(got[capped]) != 12 {
		t.Errorf("sent %d, want the cap of 12", len(got[capped]))
	}
	if left := f.db.LRange(t.Context(), list, 0, -1).Val(); !slices.Equal(left, want) {
		t.Errorf("%d are left, or not in their order, want %d", len(left), len(want))
	}
	got, fetches := sentIn(t, c, g, n, 2*time.Second, 10*time.Second)
	if len(got[capped]) != 0 || fetches > 20 {
		t.Errorf("closed: %d fetches in 10 s, which returned %d", fetches, len(got[capped]))
	}
	all.of[capped], all.left[capped] = message.Gate{Capped: true}, 100
	if got, _ = sentIn(t, c, g, n, 12*time.Second, 2*time.Second); len(got[capped]) != 18 {
		t.Errorf("opened: sent %d, want the other 18", len(got[capped]))
	}
}

// overBudget are Budgets that keep all messages of a class, and close it.
type overBudget struct {
	class message.Class
	asked int
}

func (b *overBudget) Closed(message.Flow) (is [4]bool) {
	is[b.class.Order()] = b.asked > 0
	return is
}

func (b *overBudget) Admit(_ context.Context, _ time.Time, some []Candidate) ([]bool, error) {
	b.asked += len(some)
	return make([]bool, len(some)), nil
}

// TestFreeMessagesOverABudget: what a budget keeps of one class of a flow does not slow its messages of another class, which cost nothing, alone and
// where the campaign has a rate.
func TestFreeMessagesOverABudget(t *testing.T) {
	t.Parallel()
	for every, want := range map[time.Duration]int{0: 150, 500 * time.Millisecond: 4} {
		f := setupRecords(t)
		c := f.stopClock()
		g, n := c.gate("w", 80)
		flow := message.Flow{Client: "a", Campaign: "x"}
		over := &overBudget{class: message.Utility}
		g.o.Budgets, g.o.Campaigns = over, &gates{of: map[message.Flow]message.Gate{flow: {Every: every}}}
		f.flow(30, flow, message.Utility)
		for i := range 30 {
			f.record([]queue.Task{{ID: fmt.Sprintf("%s-a_x_utility%d", phone, i)}}, Candidate{Flow: flow, Cost: 1})
		}
		f.flow(400, flow, message.Marketing)
		got, fetches := sentIn(t, c, g, n, 0, 2*time.Second)
		if n := len(got[flow]); n < want || n > want+want/2 || fetches > 2*25 {
			t.Errorf("at most one in %v: %d free messages in 2 s, want about %d; %d fetches", every, n, want, fetches)
		}
		if over.asked == 0 || over.asked > 30 {
			t.Errorf("the budget was asked for %d messages", over.asked)
		}
	}
}

// TestManyClosedCampaignsKeepNoOther: campaigns that may send nothing leave their place to others, however many there are.
func TestManyClosedCampaignsKeepNoOther(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	all := &gates{of: map[message.Flow]message.Gate{}}
	g.o.Campaigns = all
	for i := range 3 * fetchFlows {
		closed := message.Flow{Client: "a", Campaign: fmt.Sprint("closed", i)}
		all.of[closed] = message.Gate{Closed: true}
		f.flow(1, closed, message.Marketing)
	}
	open := message.Flow{Client: "a", Campaign: "open"}
	f.flow(100, open, message.Marketing)
	got, fetches := sentIn(t, c, g, n, 0, 10*time.Second)
	if len(got[open]) != 100 || len(got) != 1 || fetches > 10*25 {
		t.Errorf("sent %d of an open campaign, want 100, of %d campaigns in all; %d fetches", len(got[open]), len(got), fetches)
	}
}

// TestTheStandbyLeavesWhatIsDue: the second worker of a number fetches nothing of a campaign with a rate that the first one is about to.
func TestTheStandbyLeavesWhatIsDue(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	second, m := c.gate("v", 80)
	slow := message.Flow{Client: "a", Campaign: "slow"}
	f.flow(10, slow, message.Marketing)
	for _, d := range []*dispatcher{g, second} {
		d.o.Campaigns = &gates{of: map[message.Flow]message.Gate{slow: {Every: time.Second}}}
		d.assignment.workers = alike(shards, "w", "v")
	}
	if !g.first(phone) { // the names decide
		g, n, second, m = second, m, g, n
	}
	if got := take(t, g, n, 10); len(got) != 1 || !strings.Contains(got[0], "slow") {
		t.Fatalf("at first: %v", got)
	}
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{1050 * time.Millisecond, 0}, {1149 * time.Millisecond, 0}, {1200 * time.Millisecond, 1}} {
		c.set(step.at)
		if got := take(t, second, m, 10); len(got) != step.want {
			t.Errorf("after %v the standby got %v, want %d", step.at, got, step.want)
		}
	}
}

// TestANewCampaignKeepsItsRate: a worker that meets the first tasks of a campaign together with those of others sends none of them before
// Redis knows the rate.
func TestANewCampaignKeepsItsRate(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	slow, free := message.Flow{Client: "b", Campaign: "slow"}, message.Flow{Client: "a", Campaign: "free"}
	g.o.Campaigns = &gates{of: map[message.Flow]message.Gate{slow: {Every: 2 * time.Second}}}
	f.flow(500, free, message.Marketing)
	sentIn(t, c, g, n, 0, time.Second)
	f.flow(100, slow, message.Marketing)
	want := f.db.LRange(t.Context(), queue.FlowKey(shards.Of(phone), phone, message.Marketing.Order(), slow), 0, 98).Val()
	got, _ := sentIn(t, c, g, n, time.Second, time.Second)
	if all := len(got[slow]) + len(got[free]); len(got[slow]) != 1 || all < 75 {
		t.Errorf("sent %d of the campaign and %d in all, want 1 and 80", len(got[slow]), all)
	}
	if left := f.db.LRange(t.Context(), queue.FlowKey(shards.Of(phone), phone, message.Marketing.Order(), slow), 0, -1).Val(); !slices.Equal(left, want) {
		t.Errorf("%d are left, or not in their order, want %d", len(left), len(want))
	}
}

// TestCampaignsWithoutSettingsCostNothing: where no campaign of a number has settings, a fetch costs Redis the commands that it costs without
// settings at all.
func TestCampaignsWithoutSettingsCostNothing(t *testing.T) {
	t.Parallel()
	cost := func(all Campaigns) (commands float64) {
		poll.Until(t, "each fetch has the same tasks", func() bool { // a fetch that took long lets others book further
			f := setupRecords(t)
			c := f.stopClock()
			g, n := c.gate("w", 80)
			g.o.Campaigns = all
			f.flow(100, message.Flow{Client: "a", Campaign: "x"}, message.Marketing)
			f.flow(100, message.Flow{Client: "b"}, message.Marketing)
			_, before := f.scripts()
			for i := range 10 {
				c.set(time.Duration(i) * 100 * time.Millisecond)
				if len(take(t, g, n, 8)) != 8 {
					return false
				}
			}
			_, after := f.scripts()
			commands = after - before
			return true
		})
		return commands
	}
	other := &gates{of: map[message.Flow]message.Gate{{Client: "a", Campaign: "elsewhere"}: {Every: time.Second, Capped: true}}}
	if without, with := cost(nil), cost(other); with != without {
		t.Errorf("10 fetches cost %.0f commands, and %.0f without settings", with, without)
	}
}

// TestRatesInMiniredis: the Redis of make demo keeps the rate of a campaign too.
func TestRatesInMiniredis(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	f.candidates = f.ask
	c := f.stopClock()
	g, n := c.gate("w", 80)
	slow := message.Flow{Client: "a", Campaign: "slow"}
	g.o.Campaigns = &gates{of: map[message.Flow]message.Gate{slow: {Every: time.Second}}}
	f.flow(3, slow, message.Marketing)
	if _, end := fetchAll(t, c, g, n, 0, 3); end < 1900*time.Millisecond {
		t.Errorf("a campaign with a rate of 1 sent 3 in %v", end)
	}
}

// TestMoreSlowCampaignsThanAWorkerKnows: campaigns with a rate are all sent, though a fetch meets others than the last one did.
func TestMoreSlowCampaignsThanAWorkerKnows(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 1000)
	all := &gates{of: map[message.Flow]message.Gate{}}
	g.o.Campaigns = all
	const campaigns = 3 * flowsKnown
	for i := range campaigns {
		slow := message.Flow{Client: "a", Campaign: fmt.Sprint("slow", i)}
		all.of[slow] = message.Gate{Every: time.Hour}
		f.flow(2, slow, message.Marketing)
	}
	got, end := fetchAll(t, c, g, n, 0, campaigns)
	if len(got) != campaigns || end > 10*time.Second {
		t.Errorf("sent messages of %d campaigns in %v, want one of each of %d", len(got), end, campaigns)
	}
}

// TestTheCapDoesNotCountWhatTheLimitKeeps: messages that wait for the messaging limit of their portfolio use up no cap.
func TestTheCapDoesNotCountWhatTheLimitKeeps(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	limits := portfolio.New(f.db, portfolio.Window)
	if err := limits.Learn(t.Context(), phone, "1", 50); err != nil { // 1 of them is reserved
		t.Fatal(err)
	}
	f.limit = limits
	c := f.stopClock()
	g, n := c.gate("w", 2000)
	capped := message.Flow{Client: "a", Campaign: "x"}
	all := &gates{of: map[message.Flow]message.Gate{capped: {Capped: true}}, left: map[message.Flow]int{capped: 200}}
	g.o.Campaigns = all
	tasks := make([]queue.Task, 120)
	for i := range tasks {
		tasks[i] = queue.Task{ID: fmt.Sprintf("%s-a_x_%d", phone, i), K: 1, Number: phone, Class: message.Marketing, Flow: capped}
		f.record(tasks[i:i+1], Candidate{Flow: capped, Person: portfolio.Person{1, byte(i)}, Accepted: time.UnixMicro(int64(i + 1))})
	}
	f.add(tasks...)
	got, _ := sentIn(t, c, g, n, 0, time.Second)
	if sent := len(got[capped]); sent != 49 || all.left[capped] != 200-sent {
		t.Errorf("sent %d, want 49, and the cap has %d left of 200", sent, all.left[capped])
	}
}
