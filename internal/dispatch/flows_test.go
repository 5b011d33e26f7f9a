package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// flow adds n tasks of a flow and class, whose ids begin with the client and the campaign.
func (f *fixture) flow(n int, flow message.Flow, c message.Class) {
	f.t.Helper()
	tasks := make([]queue.Task, n)
	for i := range tasks {
		tasks[i] = queue.Task{ID: fmt.Sprintf("%s-%s_%s_%s%d", phone, flow.Client, strings.ReplaceAll(flow.Campaign, " ", "-"), c, i), K: 1, Number: phone, Class: c, Flow: flow}
	}
	f.add(tasks...)
	f.record(tasks, Candidate{Flow: flow})
}

// flowOf returns the flow in the id of a message.
func flowOf(id string) message.Flow {
	part := strings.Split(strings.TrimPrefix(id, phone+"-"), "_")
	return message.Flow{Client: part[0], Campaign: part[1]}
}

// fetchAll fetches about n tasks as time passes, finishes them, and returns how many of each flow there were.
func fetchAll(t *testing.T, c *clock, g *dispatcher, n *number, from time.Duration, most int) (map[message.Flow]int, time.Duration) {
	t.Helper()
	got, total := map[message.Flow]int{}, 0
	for at := from; ; at += 100 * time.Millisecond {
		if at > from+10*time.Minute {
			t.Fatalf("%d of %d tasks in ten minutes", total, most)
		}
		c.set(at)
		ids := take(t, g, n, 100)
		for _, id := range ids {
			got[flowOf(id)]++
		}
		c.f.end(g, n, queue.Finished, ids...)
		if total += len(ids); total >= most {
			return got, at
		}
	}
}

// TestFlowsShareSlotsByWeight: clients share the slots of a class by their weights, and the campaigns of a client share what it gets, however
// much one of them floods. The flow without a name has the weight 1.
func TestFlowsShareSlotsByWeight(t *testing.T) {
	t.Parallel()
	weights := map[string]int{"a": 1, "b": 1, "c": 2, "d": 4, "c/x": 1, "c/y": 3}
	weigh := func(f message.Flow) (int, int) { return max(weights[f.Client], 1), max(weights[f.String()], 1) }
	for name, flows := range map[string]map[message.Flow]float64{
		"clients":   {{Client: "a"}: 1. / 8, {Client: "b"}: 1. / 8, {Client: "c"}: 2. / 8, {Client: "d"}: 4. / 8},
		"campaigns": {{Client: "a"}: 1. / 4, {Client: "c", Campaign: "x"}: 1. / 8, {Client: "c", Campaign: "y"}: 3. / 8, {}: 1. / 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setupRecords(t)
			c := f.stopClock()
			g, n := c.gate("w", 80)
			g.o.Weigh = weigh
			const measured = 800
			for flow, share := range flows {
				if flow.Client == "a" {
					f.flow(50*measured/8, flow, message.Marketing) // the flood
				} else {
					f.flow(int(1.5*share*measured), flow, message.Marketing)
				}
			}
			got, _ := fetchAll(t, c, g, n, 0, measured)
			total := 0
			for _, count := range got {
				total += count
			}
			for flow, share := range flows {
				measured := float64(got[flow]) / float64(total)
				t.Logf("%-5s wanted %.3f measured %.3f", flow, share, measured)
				if d := measured/share - 1; d < -.05 || d > .05 {
					t.Errorf("%s has a share of %.3f, want %.3f", flow, measured, share)
				}
			}
		})
	}
}

// TestAnIdleFlowGetsNoCredit: a flow that had no tasks while another one was sending gets its share from now on, and not what it did not use.
func TestAnIdleFlowGetsNoCredit(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	a, b := message.Flow{Client: "a"}, message.Flow{Client: "b"}
	f.flow(2000, a, message.Marketing)
	_, at := fetchAll(t, c, g, n, 0, 400)
	f.flow(1000, b, message.Marketing)
	got, _ := fetchAll(t, c, g, n, at+100*time.Millisecond, 200)
	if d := got[a] - got[b]; d < -10 || d > 10 {
		t.Errorf("after a pause of b: %v", got)
	}
}

// TestManyCampaignsGetNoMore: a client with a campaign for each message gets no more than one with a single campaign.
func TestManyCampaignsGetNoMore(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	f.flow(200, message.Flow{Client: "b", Campaign: "spring"}, message.Marketing)
	for i := range 300 {
		f.flow(1, message.Flow{Client: "a", Campaign: fmt.Sprint("order", i)}, message.Marketing)
	}
	for _, key := range f.db.Keys(t.Context(), "*flow*").Val() {
		if tag := store.Key(shards.Of(phone), "flow"); !strings.HasPrefix(key, tag) {
			t.Errorf("%q is not in the slot of its shard, where scripts may use it in a Cluster", key)
		}
	}
	got, at := fetchAll(t, c, g, n, 0, 200)
	clients := map[string]int{}
	for flow, sent := range got {
		clients[flow.Client] += sent
	}
	if d := clients["a"] - clients["b"]; d < -10 || d > 10 {
		t.Errorf("sent %v, want as many of each", clients)
	}
	_, at = fetchAll(t, c, g, n, at+100*time.Millisecond, 500-clients["a"]-clients["b"])
	for range 10 { // the campaigns that have ended are forgotten, up to 64 at a time
		at += 100 * time.Millisecond
		c.set(at)
		take(t, g, n, 1)
	}
	if left := f.db.Keys(t.Context(), "*flow*").Val(); len(left) > 0 {
		t.Errorf("left of the flows is %q", left)
	}
}

// TestUrgentClassesGoBeforeFlows: an urgent message overtakes the flows of other classes.
func TestUrgentClassesGoBeforeFlows(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	f.flow(200, message.Flow{Client: "a"}, message.Marketing)
	f.flow(1, message.Flow{Client: "b"}, message.Authentication)
	if got := take(t, g, n, 3); len(got) == 0 || !strings.Contains(got[0], "authentication") {
		t.Errorf("fetched %v, want the urgent message first", got)
	}
}

// TestTasksReturnToTheirFlow: whatever a task waited for, it comes back to its flow, in its order; nothing of it is left when it ends.
func TestTasksReturnToTheirFlow(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	flow := message.Flow{Client: "a", Campaign: "x y"}
	class := message.Marketing
	list := queue.FlowKey(shards.Of(phone), phone, class.Order(), flow)
	f.flow(3, flow, class)
	want := f.db.LRange(t.Context(), list, 0, -1).Val()
	back := func(what string) {
		t.Helper()
		for g.tidyUp(t.Context(), n, true) {
		}
		if got := f.db.LRange(t.Context(), list, 0, -1).Val(); !slices.Equal(got, want) {
			t.Errorf("after %s the flow has %v, want %v", what, got, want)
		}
	}
	exit := func(what string, e queue.Exit) {
		t.Helper()
		ids := take(t, g, n, 3)
		if len(ids) != 3 {
			t.Fatalf("before %s: fetched %v", what, ids)
		}
		var all []queue.Exit
		for _, id := range ids {
			one := e
			one.Fetched = n.lease.Task(taskID(id, 1))
			all = append(all, one)
		}
		n.leave(all...)
		if err := n.lease.Write(0); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Duration(0)
	next := func() { at += time.Minute; c.set(at) }
	exit("a return to the head", queue.Exit{How: queue.ToHead})
	back("a return to the head")
	next()
	exit("a hold that has ended", queue.Exit{How: queue.Held, Text: "tag::gone"})
	back("a hold that has ended")
	next()
	take(t, g, n, 3)
	var fields []string
	for field := range f.hands(phone) {
		fields = append(fields, field)
	}
	if err := f.client.ReturnFields(t.Context(), phone, fields); err != nil {
		t.Fatal(err)
	}
	back("the death of its worker")
	var tasks []queue.Task
	for i := range 3 {
		tasks = append(tasks, queue.Task{ID: fmt.Sprintf("%s-a_x-y_%s%d", phone, class, i), K: 1, Number: phone, Class: class})
	}
	if missing, err := f.client.Missing(t.Context(), tasks); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	waiting, err := f.rates(80).Read(t.Context(), phone)
	if err != nil || waiting.Waiting[3].Pending != 3 || len(waiting.Waiting[3].Flows) != 1 || waiting.Waiting[3].Flows[0].Flow != flow {
		t.Errorf("backlog %+v, %v", waiting.Waiting[3], err)
	}
}

// TestFlowsInACluster: in a Cluster clients and campaigns share the slots by weight, and all messages are sent.
func TestFlowsInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	f := open(t, cluster.Servers[0].Addr, func(c redis.UniversalClient) redis.UniversalClient {
		c.Close()
		return cluster.Client()
	})
	f.candidates = f.ask
	c := f.stopClock()
	g, n := c.gate("w", 80)
	g.o.Weigh = func(flow message.Flow) (client, campaign int) {
		if flow.Client == "b" {
			return 3, 1
		}
		return 1, 1
	}
	a, b := message.Flow{Client: "a", Campaign: "spring"}, message.Flow{Client: "b"}
	f.flow(1000, a, message.Marketing)
	f.flow(400, b, message.Marketing)
	got, at := fetchAll(t, c, g, n, 0, 400)
	if share := float64(got[b]) / float64(got[a]+got[b]); share < .7 || share > .8 {
		t.Errorf("sent %v, want three quarters of b", got)
	}
	_, at = fetchAll(t, c, g, n, at+100*time.Millisecond, 1400-got[a]-got[b])
	slow := message.Flow{Client: "a", Campaign: "slow"}
	g.o.Campaigns = &gates{of: map[message.Flow]message.Gate{slow: {Every: time.Second}}}
	f.flow(3, slow, message.Marketing)
	if _, end := fetchAll(t, c, g, n, at+100*time.Millisecond, 3); end-at < 2*time.Second {
		t.Errorf("a campaign with a rate of 1 sent 3 in %v", end-at)
	}
}

// TestWeightsAreKnownFromTheFirstFetch: a worker that has fetched nothing of a number yet shares its first slots by weight too.
func TestWeightsAreKnownFromTheFirstFetch(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 400)
	g.o.Weigh = func(f message.Flow) (int, int) { return map[string]int{"a": 1, "b": 3}[f.Client], 1 }
	f.flow(100, message.Flow{Client: "a"}, message.Marketing)
	f.flow(100, message.Flow{Client: "b"}, message.Marketing)
	got := map[string]int{}
	for _, id := range take(t, g, n, 40) {
		got[flowOf(id).Client]++
	}
	if total := got["a"] + got["b"]; total < 30 || got["a"] < total/4-1 || got["a"] > total/4+1 {
		t.Errorf("the first fetch returned %v, want a quarter and three quarters", got)
	}
}

// TestRareClassesKeepTheirWeights: the flows of a class share its slots by weight, though most fetches meet the flows of an urgent class only.
func TestRareClassesKeepTheirWeights(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	g.o.Weigh = func(f message.Flow) (int, int) { return map[string]int{"a": 1, "b": 3, "c": 1}[f.Client], 1 }
	a, b := message.Flow{Client: "a"}, message.Flow{Client: "b"}
	f.flow(2000, message.Flow{Client: "c"}, message.Authentication)
	f.flow(100, a, message.Marketing)
	f.flow(100, b, message.Marketing)
	got, _ := fetchAll(t, c, g, n, 0, 1600)
	if sent := got[a] + got[b]; sent < 40 || got[a] < sent/4-2 || got[a] > sent/4+2 {
		t.Errorf("sent %d and %d of the flows of a rare class, want a quarter and three quarters", got[a], got[b])
	}
}
