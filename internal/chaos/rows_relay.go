package chaos

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/relay"
	"sluice/internal/rig"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// relayWorld has workers that relay to a target of the harness.
var relayWorld = setup{
	workers: 3, numbers: 12, faults: unhurried,
	settings: map[string]any{"relay": map[string]any{"allowed_private_hosts": "127.0.0.1"}},
}

// relayRows break the workers that relay, and the target.
var relayRows = []row{{
	id: "C90", fault: "workers that relay killed five times, while the target answers 500, hangs and loses answers", n: 1200, takes: 50 * time.Second,
	setup: relayWorld,
	play:  func(r *run) { r.relays(false) },
}}

// relayControl is C90 without the rule that the position follows what the target took.
var relayControl = row{
	id: "C90-ahead", fault: "C90, and the position is stored before the target takes the events", n: 1200, takes: 60 * time.Second, control: true, loses: true,
	setup: relayWorld,
	play:  func(r *run) { r.relays(true) },
}

// relays plays C90. ahead moves the positions of the target to the ends of the streams at each kill.
func (r *run) relays(ahead bool) {
	targets := relay.NewTargets(r.db, shards, secrets.Box{})
	r.hooked = r.hookUp(targets)
	defer r.hooked.close()
	r.order(r.n, 40)
	kill := func() {
		w := r.relaying()
		r.killWorker(w)
		r.hooked.kills = append(r.hooked.kills, time.Now())
		if ahead {
			r.skip()
		}
		r.worker()
	}
	for i, at := range r.moments(5) {
		r.receives(at)
		r.hooked.behave([]hookFaults{usualHook, {fails: 1}, usualHook, {hangs: 1}, usualHook}[i])
		r.pause(time.Duration(500+r.chance.IntN(1500)) * time.Millisecond)
		kill()
		r.hooked.behave(usualHook)
	}
	r.settle()
	r.hooked.behave(hookFaults{})
	last := r.hooked.kills[len(r.hooked.kills)-1]
	r.until("the relay target has every event", func() bool {
		r.pause(200 * time.Millisecond)
		if !ahead {
			return len(r.relayed().missing()) == 0
		}
		all, err := targets.List(r.ctx)
		// All leases of killed workers have ended, and nothing waits.
		return err == nil && time.Since(last) > 20*time.Second && all[0].Lag == 0 && all[0].SetAside == 0
	})
	f := r.relayed()
	n := 0
	for _, stream := range f.streams {
		n += len(stream)
	}
	r.note("%d events; the target refused, lost or did not answer %d of %d requests; %d events came again", n, r.hooked.failed, len(f.taken)+r.hooked.failed, len(f.taken)+len(f.missing())-n)
}

// relaying returns a random one of the workers that have relayed something, and any worker if none has.
func (r *run) relaying() *rig.Process {
	some := slices.DeleteFunc(slices.Clone(r.workers), func(w *rig.Process) bool {
		n, err := r.Metric(r.ctx, w, `sluice_relay_events_total{result="delivered",target="`+hookName+`"}`)
		return err != nil || n == 0
	})
	if len(some) == 0 {
		return r.anyWorker()
	}
	return some[r.chance.IntN(len(some))]
}

// skip moves all positions of the target to the ends of the streams.
func (r *run) skip() {
	places, err := events.NewTail(r.stream).Last(r.ctx)
	r.must(err, "read the ends of the streams")
	for _, s := range shards.All() {
		key, stored := store.Key(s, "relay"), map[string]any{}
		if json.Unmarshal([]byte(r.db.HGet(r.ctx, key, hookName).Val()), &stored) != nil {
			continue // nothing of this shard was relayed
		}
		stored["message"], stored["meta"] = places[events.MessageKey(s)].String(), places[events.MetaKey(s)].String()
		text, err := json.Marshal(stored)
		r.must(err, "move a position")
		r.must(r.db.HSet(r.ctx, key, hookName, text).Err(), "move a position")
	}
}

// relayed returns what the relay target should have and has.
func (r *run) relayed() relayFindings {
	f := relayFindings{streams: r.published(), kills: r.hooked.kills}
	r.hooked.mu.Lock()
	defer r.hooked.mu.Unlock()
	f.taken = slices.Clone(r.hooked.taken)
	return f
}

// lines returns the events of an entry.
func lines(entry string) (all []written) {
	for text := range strings.SplitSeq(entry, "\n") {
		w := written{text: text}
		var e message.Event
		if json.Unmarshal([]byte(text), &e) == nil {
			switch {
			case e.Message != nil:
				w.message = e.Message.ID
			case e.Report != nil:
				w.message = e.Report.WAMID
			}
		}
		all = append(all, w)
	}
	return all
}

// hookName is the name of the relay target of the harness.
const hookName = "chaos"

// hookFaults are the shares of requests that a relay target does not answer well.
type hookFaults struct{ fails, hangs, loses float64 }

var usualHook = hookFaults{fails: 0.02, hangs: 0.002, loses: 0.005}

// hook is a relay target.
type hook struct {
	srv   *http.Server
	kills []time.Time // of workers

	mu     sync.Mutex
	chance *rand.Rand
	faults hookFaults
	woken  chan struct{} // closed when the faults change: hanging requests end
	taken  []delivery
	failed int
}

// hookUp starts a relay target and adds it.
func (r *run) hookUp(targets *relay.Targets) *hook {
	h := &hook{chance: rand.New(rand.NewPCG(r.seed, 90)), faults: usualHook, woken: make(chan struct{})}
	h.srv = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err, "start a relay target")
	go h.srv.Serve(l) // runs until close
	_, err = targets.Set(r.ctx, message.RelayTarget{
		Name: hookName, URL: "http://" + l.Addr().String(), Format: message.RelaySluice, Batch: 5, Concurrency: message.RelayConcurrency, GiveUpAfter: message.RelayGiveUpAfter,
	}, "")
	r.must(err, "add a relay target")
	return h
}

func (h *hook) close() { h.srv.Close() }

// behave sets the faults.
func (h *hook) behave(f hookFaults) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.woken)
	h.faults, h.woken = f, make(chan struct{})
}

// ServeHTTP takes events, or fails.
func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ Events []json.RawMessage }
	text, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(text, &body) != nil {
		http.Error(w, "no events", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	x, faults, woken := h.chance.Float64(), h.faults, h.woken
	loses := x >= faults.fails+faults.hangs && x < faults.fails+faults.hangs+faults.loses
	takes := loses || x >= faults.fails+faults.hangs
	if !takes || loses {
		h.failed++
	}
	for _, e := range body.Events {
		if takes {
			h.taken = append(h.taken, delivery{text: string(e), at: time.Now(), lost: loses})
		}
	}
	h.mu.Unlock()
	switch {
	case loses:
		panic(http.ErrAbortHandler)
	case takes:
		return
	case x >= faults.fails: // it hangs
		select {
		case <-woken:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(http.StatusInternalServerError)
}
