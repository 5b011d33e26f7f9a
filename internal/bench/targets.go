package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The ways in which the other relay target answers.
const (
	targetWorks = "works"
	targetFails = "fails"
	targetHangs = "hangs"
	targetSlow  = "slow"
)

// slowAnswer is how long a slow target takes: less than the time limit of the relay.
const slowAnswer = 9 * time.Second

const (
	writtenAt = "written" // member of a status: when it was written, Unix nanoseconds
	wayPath   = "/_bench/way/"
	agesPath  = "/_bench/ages"
)

// targets are two relay targets: one that takes all events and notes how old they are, and one that answers in a way that
// can be set. It is safe for concurrent use.
type targets struct {
	mu      sync.Mutex
	way     string
	changed chan struct{} // closed when way changes: requests that wait end
	targetArrivals
}

// targetArrivals is what arrived at the targets.
type targetArrivals struct {
	Ages   []time.Duration // of the events at the measured target since the last question
	Total  int             // events at the measured target
	Others int             // requests to the other target
}

func newTargets() *targets { return &targets{way: targetWorks, changed: make(chan struct{})} }

func (t *targets) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /measured", t.measured)
	mux.HandleFunc("POST /other", t.other)
	mux.HandleFunc("POST "+wayPath+"{way}", func(_ http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		close(t.changed)
		t.way, t.changed = r.PathValue("way"), make(chan struct{})
	})
	mux.HandleFunc("GET "+agesPath, func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		a := t.targetArrivals
		t.Ages = nil
		t.mu.Unlock()
		json.NewEncoder(w).Encode(a)
	})
	return mux
}

// measured takes an event.
func (t *targets) measured(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	now := time.Now()
	_, rest, found := bytes.Cut(body, []byte(`"`+writtenAt+`":"`))
	digits, _, _ := bytes.Cut(rest, []byte(`"`))
	written, _ := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || !found {
		http.Error(w, "no event", http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Total++
	t.Ages = append(t.Ages, now.Sub(time.Unix(0, written)))
}

// other answers in the way that is set.
func (t *targets) other(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	t.mu.Lock()
	t.Others++
	way, changed := t.way, t.changed
	t.mu.Unlock()
	var answer <-chan time.Time // nil: none
	switch way {
	case targetWorks:
		return
	case targetSlow:
		answer = time.After(slowAnswer)
	case targetFails:
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	select {
	case <-answer:
	case <-changed:
		w.WriteHeader(http.StatusInternalServerError)
	case <-r.Context().Done():
	}
}
