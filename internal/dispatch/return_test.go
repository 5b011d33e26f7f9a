package dispatch

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
)

// A rewind of Redis brings back hands whose tasks are done: their worker lives, and knows nothing of
// them.
func TestHandsThatCameBackAreStrays(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(4, phone, message.Service)...)
	g, stop := f.gate("w", Number{ID: phone, Rate: 1000})
	defer stop()
	if taken, _, err := g.fetch(t.Context(), g.number(phone), 2); err != nil || len(taken) != 2 {
		t.Fatal(taken, err)
	}
	hands := queue.LeasesKey(shards.Of(phone), phone)
	for field, value := range f.db.HGetAll(t.Context(), hands).Val() {
		f.db.HSet(t.Context(), hands, "w/0", value, "other/0", value, field, value)
	}
	f.client.Fetches(t.Context()) // sees them for the first time
	all, err := f.client.Fetches(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	strays := g.strays(all)
	if len(strays) != 1 || strays[0].Field != "w/0" || len(strays[0].Tasks) != 2 {
		t.Errorf("strays: %+v", strays)
	}
}

// A rewind of Redis may bring back a task that was deleted while others of its hand were not finished:
// it is deleted again with the hand, for no list leads to it any more.
func TestATaskThatCameBackGoesWithItsHand(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(2, phone, message.Service)...)
	g, stop := f.gate("w", Number{ID: phone, Rate: 1000})
	defer stop()
	n := g.number(phone)
	taken, _, err := g.fetch(t.Context(), n, 2)
	if err != nil || len(taken) != 2 {
		t.Fatal(taken, err)
	}
	first := n.lease.Keys(message.Service.Order()).Task + taken[0].ID
	was := f.db.HGetAll(t.Context(), first).Val()
	for _, task := range taken {
		n.leave(queue.Exit{Fetched: task, How: queue.Finished})
		if err := n.lease.Write(0); err != nil {
			t.Fatal(err)
		}
		if task == taken[0] {
			f.db.HSet(t.Context(), first, was)
		}
	}
	if left := f.db.Exists(t.Context(), first, queue.LeasesKey(n.shard, n.id)).Val(); left != 0 {
		t.Errorf("%d of the task and its hand are left", left)
	}
}

// Tasks of a dead worker go back to the heads of their queues once, in their order, however many
// return them.
func TestTasksOfADeadWorkerAreReturnedOnceInTheirOrder(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			tasks := many(12, phone, message.Service)
			urgent := many(2, phone, message.Authentication)
			f.add(tasks...)
			f.add(urgent...)
			k := queue.KeysOf(shards.Of(phone), phone, message.Service)
			before := f.db.LRange(t.Context(), k.Pending, 0, -1).Val()
			dead, stop := f.gate("dead", Number{ID: phone, Rate: 1000})
			for range 3 { // several hands
				if taken, _, err := dead.fetch(t.Context(), dead.number(phone), 4); err != nil || len(taken) != 4 {
					t.Fatal(taken, err)
				}
			}
			stop()
			dead.giveUp()
			// One that it finished, and did not live to strike off.
			f.db.Del(t.Context(), k.Task+taskID(tasks[0].ID, 1))

			if hands, err := f.client.Fetches(t.Context()); err != nil || len(hands) != 0 {
				t.Fatalf("at first sight %+v, %v", hands, err)
			}
			hands, err := f.client.Fetches(t.Context())
			if err != nil || len(hands) != 3 {
				t.Fatalf("%+v, %v", hands, err)
			}
			found := 0
			for _, h := range hands {
				if h.Worker != "dead" || h.Number != phone || h.Shard != shards.Of(phone) {
					t.Errorf("%+v", h)
				}
				found += len(h.Tasks)
			}
			if found != 12 {
				t.Errorf("%d tasks are in hand, want 12", found)
			}
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if err := queue.NewClient(f.db, shards).Return(t.Context(), hands); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
			if after := f.db.LRange(t.Context(), k.Pending, 0, -1).Val(); !slices.Equal(after, before[:11]) {
				t.Errorf("pending\n%v, before\n%v", after, before)
			}
			if n := f.info(phone, message.Authentication).Pending; n != 2 {
				t.Errorf("%d urgent tasks are pending, want 2", n)
			}
			if hands, err := f.client.Fetches(t.Context()); err != nil || len(hands) != 0 {
				t.Errorf("%+v, %v", hands, err)
			}
			j := newJournal()
			f.serve("alive", j.handle, Number{ID: phone, Rate: 80})
			j.wait(t, 13)
			j.once(t, append(urgent, tasks[1:]...))
			eventually(t, "all is acknowledged", func() bool { return f.info(phone, message.Service).Size == 0 })
			f.idle(phone)
		})
	}
}

func TestTasksHandedBackKeepTheirPlace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var tasks []queue.Task
	for _, i := range []int{5, 3, 9, 1, 7, 2, 8, 0, 6, 4} {
		tasks = append(tasks, many(10, phone, message.Utility)[i])
	}
	f.add(tasks...)
	k := queue.KeysOf(shards.Of(phone), phone, message.Utility)
	before := f.db.LRange(t.Context(), k.Pending, 0, -1).Val()
	g, stop := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	taken, _, err := g.fetch(t.Context(), n, 6)
	if err != nil || len(taken) != 6 || len(n.lease.All()) != 6 {
		t.Fatal(taken, err)
	}
	stop()
	for range cap(g.ready) {
		g.ready <- ""
	}
	g.dispatch(g.stopped, n, taken) // no server takes them
	if after := f.db.LRange(t.Context(), k.Pending, 0, -1).Val(); !reflect.DeepEqual(after, before) {
		t.Errorf("pending\n%v, before\n%v", after, before)
	}
	if len(f.hands(phone)) != 0 || len(n.lease.All()) != 0 || n.running != 0 {
		t.Errorf("in hand are %q, %v, %d running", f.hands(phone), n.lease.All(), n.running)
	}
}

func TestATaskInHandStaysWithItsWorkerUntilItsHandlerEnds(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(1, phone, message.Service)...)
	started, release := make(chan struct{}), make(chan struct{})
	stop := f.serve("w", func(context.Context, string, int, any, *Slots) error {
		close(started)
		<-release
		return nil
	}, Number{ID: phone, Rate: 80})
	<-started
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	for range 5 {
		time.Sleep(100 * time.Millisecond) // that nothing happens
		if hands := f.hands(phone); len(hands) != 1 {
			t.Errorf("in hand are %q while the server stops", hands)
		}
	}
	close(release)
	<-stopped
	if n := f.info(phone, message.Service).Size; n != 0 {
		t.Errorf("%d tasks are left", n)
	}
	if hands := f.hands(phone); len(hands) != 0 {
		t.Errorf("in hand are still %q", hands)
	}
}
