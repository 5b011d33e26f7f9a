package ledger_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// TestManyActorsAtOnce: two workers with the same task, a caller that cancels, a sweeper that takes a worker for dead
// and reconcilers that apply the same statuses twice change each message at the same time, through several ledgers. Each
// message is requested once or cancelled, and never both; nothing is lost; and its events match its timeline.
func TestManyActorsAtOnce(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		const messages, atOnce = 120, 12
		ledgers := make([]*ledger.Ledger, 4)
		for i := range ledgers {
			ledgers[i] = ready(t, f.db)
		}
		races := make([]*race, messages)
		var all []ledger.Accepting
		for i := range races {
			m := newMessage(fmt.Sprint(i))
			m.Ref, m.Campaign = "", "spring"
			all = append(all, f.accepting(m))
			races[i] = &race{fixture: f, id: m.ID, posted: make(chan struct{})}
		}
		for _, r := range f.Accept(t.Context(), all) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		next := make(chan int)
		var wg sync.WaitGroup
		for range atOnce {
			wg.Go(func() {
				for i := range next {
					races[i].run(ledgers, i)
				}
			})
		}
		for i := range races {
			next <- i
		}
		close(next)
		wg.Wait()
		for _, r := range races {
			r.check()
		}
		f.wantConsistent("at the end")
	})
}

// race is one message and what became of it.
type race struct {
	fixture
	id        string
	posts     atomic.Int32
	posted    chan struct{} // closed at the first request
	cancelled atomic.Bool
}

// run lets all fall upon the message, and returns when they have done.
func (r *race) run(ledgers []*ledger.Ledger, i int) {
	known, err := ledgers[0].Read(r.t.Context(), r.id)
	if err != nil {
		r.t.Error(err)
		return
	}
	settled := make(chan struct{}) // the worker or the caller has won
	var actors, deciding sync.WaitGroup
	must := func(err error) {
		if err != nil {
			r.t.Error(err)
		}
	}
	ctx := r.t.Context()
	for w := range 2 {
		deciding.Go(func() {
			k := &known
			if (i+w)%3 == 0 {
				k = nil
			}
			a, err := ledgers[w].Begin(ctx, r.id, 0, fmt.Sprintf("w%d/%d", w, i), k)
			must(err)
			if a.Verdict != message.Go {
				return
			}
			if r.posts.Add(1) == 1 {
				close(r.posted)
			}
			_, _, err = ledgers[w].Finish(ctx, a, message.Move{To: message.Submitted, WAMID: "wamid." + r.id})
			must(err)
		})
	}
	if i%3 == 0 {
		deciding.Go(func() {
			st, err := ledgers[2].Cancel(ctx, r.id)
			must(err)
			r.cancelled.Store(st == message.Cancelled)
		})
	}
	if i%4 == 0 {
		actors.Go(func() {
			select {
			case <-r.posted:
			case <-settled:
				return
			}
			o, err := ledgers[3].ReadOpen(ctx, r.id)
			must(err)
			if o.State == message.Attempting {
				_, err := ledgers[3].Move(ctx, o, message.Move{To: message.InDoubt, Reason: message.ReasonWorkerDied}, func(w *store.Writes) error { return nil })
				must(err)
			}
		})
	}
	for n, status := range []string{"sent", "delivered", "sent", "delivered"} {
		actors.Go(func() {
			select {
			case <-r.posted: // Meta reports what was requested
			case <-settled:
				return
			}
			_, err := ledgers[n].Apply(ctx, r.shard, []message.MarkedReport{report(r.id, 1, "wamid."+r.id, status)}, nil)
			must(err)
		})
	}
	deciding.Wait()
	close(settled)
	actors.Wait()
}

func (r *race) check() {
	r.t.Helper()
	rec := r.read(r.id)
	posts, cancelled := r.posts.Load(), r.cancelled.Load()
	switch {
	case posts > 1:
		r.t.Errorf("%d requests", posts)
	case posts == 1 && cancelled:
		r.t.Error("cancelled and requested")
	case posts == 0 && !cancelled:
		r.t.Errorf("neither cancelled nor requested: %s", rec.State)
	case posts == 1 && (rec.WAMID != "wamid."+r.id || rec.Duplicates > 0 || rec.State.Rank("") < message.Submitted.Rank("")):
		r.t.Errorf("requested, and the record says %s, %q, %d duplicates", rec.State, rec.WAMID, rec.Duplicates)
	case rec.Payload != "":
		r.t.Errorf("%s with its payload", rec.State)
	}
	last := -1
	for _, c := range rec.Timeline {
		if rank := c.State.Rank(c.Reason); rank <= last {
			r.t.Errorf("a timeline that goes down: %+v", rec.Timeline)
		} else {
			last = rank
		}
	}
}
