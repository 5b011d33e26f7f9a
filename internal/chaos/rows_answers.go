package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/message"
)

// answerRows are about ambiguous answers of Meta, and about callers that repeat requests.
var answerRows = []row{
	{
		id: "C20", fault: "refused, TLS failure, a 200 cut off, HTML 502, 307, reset: each on a number of its own", n: 250, takes: 50 * time.Second,
		setup: setup{numbers: 5, late: true},
		play:  func(r *run) { r.ambiguous() },
	},
	{
		id: "C22", fault: "the same key twenty times at once, then with other content", n: 500, takes: 10 * time.Second,
		play: func(r *run) {
			var once sync.Mutex
			made := map[string]int{}
			var g errgroup.Group
			g.SetLimit(40)
			api := r.API(r.apiAddr)
			orders, _ := r.producer.reserve(r.n)
			for i, o := range orders {
				for range 20 {
					g.Go(func() error {
						object, to := text(i)
						answer, err := r.producer.try(r.load, o, withTo(object, to))
						if err != nil {
							return err
						}
						once.Lock()
						defer once.Unlock()
						if !answer.Duplicate {
							made[answer.ID]++
						}
						r.check(answer.ID == o.ID, "key %s became %s and not %s", o.Key, answer.ID, o.ID)
						return nil
					})
				}
			}
			r.must(g.Wait(), "order")
			for _, o := range orders {
				r.check(made[o.ID] == 1, "%s was made %d times", o.ID, made[o.ID])
			}
			for i, o := range orders {
				g.Go(func() error {
					object, to := text(i + r.n)
					_, err := api.Send(r.load, client.Message{From: o.Number, Class: client.Class(o.Class), Key: o.Key, Content: withTo(object, to)})
					p, ok := errors.AsType[*client.Problem](err)
					r.check(ok && p.Status == http.StatusUnprocessableEntity, "key %s with other content: %v", o.Key, err)
					return nil
				})
			}
			g.Wait()
			r.settle()
		},
	},
}

// ambiguous is C20: first the far side does not listen, then it has a certificate that the workers do not
// trust, and then it answers each number in its own way.
func (r *run) ambiguous() {
	ways := []string{good, truncated, html502, redirect, reset}
	f := &farSide{addr: r.free(), ways: map[string]string{}, requests: map[string]int{}}
	for i, number := range r.producer.numbers {
		f.ways[number] = ways[i]
	}
	trusted := filepath.Join(r.Dir, "trusted.pem")
	theirs, err := certificate(trusted)
	r.must(err, "make a certificate")
	strange, err := certificate(filepath.Join(r.Dir, "strange.pem"))
	r.must(err, "make a certificate")
	// The in-doubt window is long, so that the outcome of each answer can be seen before Meta reports.
	class := map[string]any{"in_doubt_window": "1h", "server_error_window": "1h", "in_doubt_policy": "park"}
	r.configure(map[string]any{"graph": map[string]any{"base_url": "https://" + f.addr}, "classes": map[string]any{"service": class}})
	worker, err := r.Program(r.ctx, "worker", "", []string{"SSL_CERT_FILE=" + trusted})
	r.must(err, "start a worker")
	r.workers = append(r.workers, worker)

	tried := func(reason string) {
		r.until("every number has made an attempt with the outcome "+reason, func() bool {
			answered := map[string]bool{}
			for _, o := range r.producer.taken() {
				if rec, err := r.book.Get(r.ctx, o.ID); err == nil && rec.State == message.Queued && rec.Reason == reason {
					answered[o.Number] = true
				}
			}
			return len(answered) == len(ways)
		})
		r.step("every number has the outcome %s", reason)
	}
	r.order(r.n, 500)
	r.must(r.producer.wait(), "order")
	tried("dial")
	r.must(f.open(strange), "open the far side")
	tried("tls")
	f.close()
	r.must(f.open(theirs), "open the far side")
	defer f.close()
	r.until("every message has arrived, without those that get the 307", func() bool {
		return f.arrived(good) == r.n/5 && f.arrived(truncated) == r.n/5 && f.arrived(html502) == r.n/5 && f.arrived(reset) == r.n/5
	})
	r.until("every answer is recorded", func() bool {
		b, err := r.book.Backlog(r.ctx)
		return err == nil && b.Waiting == int64(r.n/5)
	})
	outcomes := map[string]map[string]int{}
	for id, rec := range r.records(r.producer.taken()) {
		number, _ := message.Number(id)
		way := f.ways[number]
		if outcomes[way] == nil {
			outcomes[way] = map[string]int{}
		}
		outcomes[way][fmt.Sprintf("%s %s", rec.State, rec.Reason)]++
	}
	for way, want := range map[string]string{
		good: "submitted ", truncated: "in_doubt no_answer", html502: "in_doubt server_error", reset: "in_doubt no_answer", redirect: "queued http 307",
	} {
		r.check(outcomes[way][want] > 0 && (len(outcomes[way]) == 1 || way == redirect), "%s: %v, not %s", way, outcomes[way], want)
	}
	f.repair(redirect)
	r.until("the messages that got the 307 have arrived", func() bool { return f.arrived(good) == 2*r.n/5 })
	r.note("%v", outcomes)
	for marker, n := range f.requests {
		r.check(n == 1, "the attempt %s was received %d times", marker, n)
	}
	// Meta reports what it accepted, which settles everything.
	r.far = f
	r.reports(f.taken, time.Now(), "delivered")
	r.end(r.producer.taken(), func() {})
	r.applied()
}

// withTo returns a message object with its recipient.
func withTo(object map[string]any, to string) json.RawMessage {
	object["to"] = to
	b, err := json.Marshal(object)
	if err != nil {
		panic(err) // cannot happen: the maps have strings only
	}
	return b
}
