package ledger_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestLifeInACluster: in a Cluster each shard lies on one master, and messages of all of them live there
// as on one server, also after a master was replaced.
func TestLifeInACluster(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{"by transactions": "", "by scripts": "?transactions=script"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t)
			f := openFixture(t, c.URL()+query)
			ids := f.acceptInShards()
			byShard := map[message.Shard][]message.MarkedReport{}
			together(len(ids), func(i int) {
				a, err := f.Begin(t.Context(), ids[i], 0, fmt.Sprint("w/", i), nil)
				if err != nil || a.Verdict != message.Go {
					t.Errorf("begin: %+v, %v", a, err)
				}
				if st, _, err := f.Finish(t.Context(), a, message.Move{To: message.Submitted, WAMID: "wamid." + ids[i]}); st != message.Submitted || err != nil {
					t.Errorf("finish: %s, %v", st, err)
				}
			})
			for i, id := range ids {
				n, _ := message.Number(id)
				s := message.DefaultShards.Of(n)
				e := report(id, 1, "wamid."+id, "delivered")
				if i%2 == 0 {
					e = report("", 0, "wamid."+id, "delivered")
				}
				byShard[s] = append(byShard[s], e)
			}
			for s, all := range byShard {
				position := store.Key(s, "position")
				results, err := f.Apply(t.Context(), s, all, map[string]string{position: "7"})
				if err != nil || slices.ContainsFunc(results, func(f message.ApplyResult) bool { return f != message.Applied }) {
					t.Errorf("apply: %v, %v", results, err)
				}
				if got := f.db.Get(t.Context(), position).Val(); got != "7" {
					t.Errorf("the position is %q", got)
				}
			}
			for _, id := range ids {
				f.wantState(id, message.Delivered)
			}

			key := store.Key(f.shard, "m:")
			id := f.accepted("replaced")
			old := c.MasterOf(key)
			if err := c.ReplicaOf(key).Client().ClusterFailover(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			for c.MasterOf(key) == old {
				time.Sleep(5 * time.Millisecond)
			}
			var a message.Attempt
			for range 100 { // until the change of masters is known
				var err error
				if a, err = f.Begin(t.Context(), id, 0, "w/1", nil); err == nil {
					break
				}
			}
			if a.Verdict != message.Restarted || a.N != 0 {
				t.Errorf("on another master: %+v", a)
			}
			f.trusts()
			if a := f.begun(id, 0, "w/1"); a.Verdict != message.Go {
				t.Errorf("%+v", a)
			} else if st := f.finished(a, message.Move{To: message.Rejected}); st != message.Rejected {
				t.Errorf("%s", st)
			}
		})
	}
}

var silent = slog.New(slog.DiscardHandler)

// TestUnconfirmed: a failover may lose what too few replicas confirmed. An acceptance then reports that the result is
// unknown, and an attempt sends nothing.
func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	f := newFixture(t, s.Servers[0].Client())
	if err := f.db.Require(t.Context(), store.Replica, silent); err != nil {
		t.Fatal(err)
	}
	a := f.attempting("confirmed")
	known := f.read(f.accepted("known"))
	freeze := func(f func()) {
		t.Helper()
		s.Servers[1].Signal(syscall.SIGSTOP)
		f()
		s.Servers[1].Signal(syscall.SIGCONT)
		confirms(t, s.Servers[0])
	}
	m := newMessage("accepted meanwhile")
	freeze(func() {
		together(3, func(i int) {
			switch i {
			case 0:
				if _, err := f.tryAccept(m); !errors.Is(err, store.ErrUnconfirmed) {
					t.Errorf("accept: %v", err)
				}
			case 1:
				got, err := f.Begin(t.Context(), known.ID, 0, "w/2", &known)
				if err != nil || got.Verdict != message.Unconfirmed || got.N != 1 || got.Token != "w/2" {
					t.Errorf("begin: %+v, %v", got, err)
				}
			case 2:
				if got, err := f.Begin(t.Context(), a.ID, 0, a.Token, nil); err != nil || got.Verdict != message.Unconfirmed || got.N != 1 {
					t.Errorf("whoever asks whether its attempt stands: %+v, %v", got, err)
				}
			}
		})
	})
	freeze(func() {
		if _, err := f.tryAccept(m); !errors.Is(err, store.ErrUnconfirmed) {
			t.Errorf("a repeat is no more confirmed: %v", err)
		}
		if st, _, err := f.Finish(t.Context(), a, message.Move{To: message.Submitted, WAMID: "wamid.1"}); st != message.Submitted || err != nil {
			t.Errorf("an outcome does not wait for replicas: %s, %v", st, err)
		}
	})
	if got, err := f.tryAccept(m); err != nil || !got.Duplicate {
		t.Errorf("a repeat when the replica is back: %+v, %v", got, err)
	}
	if got := f.begun(known.ID, 0, "w/2"); got.Verdict != message.Go || got.N != 1 {
		t.Errorf("a repeat when the replica is back: %+v", got)
	}
}

// confirms waits until the replica of a server confirms its writes.
func confirms(t *testing.T, server *redistest.Server) {
	t.Helper()
	c := server.Client()
	conn := c.Conn()
	defer conn.Close()
	for end := time.Now().Add(20 * time.Second); ; {
		conn.Set(t.Context(), "probe", "x", 0)
		if n, err := conn.Wait(t.Context(), 1, time.Second).Result(); err == nil && n == 1 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("the replica does not confirm: %v", err)
		}
	}
}
