package chaos

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	ledgerrecord "sluice/internal/record"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// keyRows are about idempotency keys that are used again.
var keyRows = []row{
	{
		id: "C40", fault: "keys used again after their records' life, and late reports of the first messages", n: 200, takes: 12 * time.Second,
		setup: setup{split: true, numbers: 1, rate: 200},
		play: func(r *run) {
			r.reconciler()
			r.order(r.n, r.pace())
			r.must(r.producer.wait(), "order")
			orders := r.producer.orders
			r.end(r.producer.taken(), func() {})
			r.applied()
			first := r.accepted()

			r.forget(orders, func(rec *ledgerrecord.Record) {
				for i := range rec.Timeline {
					rec.Timeline[i].At = rec.Timeline[i].At.Add(-25 * time.Hour)
				}
			})
			for i, o := range orders {
				answer, err := r.producer.try(r.load, o, withTo(text(i)))
				r.check(err == nil && answer.Duplicate && answer.State == client.StateDelivered, "%s repeated after its record's life: %+v, %v", o.ID, answer, err)
			}
			_, err := r.API(r.apiAddr).Send(r.load, client.Message{From: orders[0].Number, Class: client.Class(orders[0].Class), Key: orders[0].Key, Content: withTo(text(r.n))})
			p, ok := errors.AsType[*client.Problem](err)
			r.check(ok && p.Status == http.StatusUnprocessableEntity, "another message with a key whose record is dropped: %v", err)
			r.reports(first, time.Now(), "read")
			r.applied()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateRead, "%s is %s after a late read", id, rec.State)
			}

			r.forget(orders, func(rec *ledgerrecord.Record) { rec.KeyUntil = time.Now().Add(-time.Minute) })
			for len(r.workers) > 0 {
				r.stopWorker(r.workers[0])
			}
			for i, o := range orders {
				answer, err := r.producer.try(r.load, o, withTo(text(i)))
				r.check(err == nil && !answer.Duplicate, "%s ordered after its key's time: %+v, %v", o.ID, answer, err)
			}
			r.reports(first, time.Now(), "read", "delivered")
			r.until("every report is applied", func() bool {
				behind, err := r.stream.Behind(r.ctx)
				return err == nil && behind == 0
			})
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateQueued, "%s is %s by reports of an earlier message", id, rec.State)
			}
			r.startWorkers(r.setup.workers)
			r.settle()
		},
	},
}

// accepted returns what the far side has received.
func (r *run) accepted() (all []graphsim.Accepted) {
	r.must(r.Accepted(r.ctx, func(a graphsim.Accepted) { all = append(all, a) }), "read the simulator's messages")
	return all
}

// forget changes the records of messages so that their time is over, and drops them at once, as a worker does
// once an hour.
func (r *run) forget(orders []*order, over func(*ledgerrecord.Record)) {
	hour := time.Now().Unix() / 3600
	by := map[message.Shard]int{}
	for _, o := range orders {
		s := shards.Of(o.Number)
		key := ledger.RecordPrefix(s) + o.ID
		stored, err := r.db.Get(r.ctx, key).Result()
		r.must(err, "read a record")
		rec, err := ledgerrecord.Decode(o.ID, stored)
		r.must(err, "read a record")
		over(&rec)
		r.must(r.db.Set(r.ctx, key, rec.Encode(), 0).Err(), "change a record")
		r.must(r.db.RPush(r.ctx, store.Key(s, "ended:"+strconv.FormatInt(hour-1, 10)), o.ID).Err(), "end a record")
		by[s]++
	}
	for s, want := range by {
		r.must(r.db.Set(r.ctx, store.Key(s, "forgotten"), hour-2, 0).Err(), "set the last dropped hour")
		n, err := r.book.Purge(r.ctx, s)
		r.must(err, "drop records")
		r.check(n == want, "%d of %d records were dropped", n, want)
	}
	r.step("the time of %d records is over", len(orders))
}
