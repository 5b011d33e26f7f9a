package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/ports"
	"sluice/internal/rig"
)

// farSideSettings configure the plain far side: an HTTP server that answers every POST like
// the Graph API and checks nothing. It costs the machine less than the simulator, so that a load run measures
// mostly the programs.
type farSideSettings struct {
	Latency time.Duration `json:"latency"` // from a request to its answer
	Keep    bool          `json:"keep"`    // keep each request, see arrival
}

// arrival is a POST that the plain far side answered.
type arrival struct {
	At     time.Time `json:"at"`
	Number string    `json:"number"` // phone number id
	To     string    `json:"to"`
	Marker string    `json:"marker"` // biz_opaque_callback_data
	WAMID  string    `json:"wamid"`
}

// farSideCount is what the plain far side answers at countPath.
type farSideCount struct {
	Posts int `json:"posts"`
}

const (
	countPath    = "/_bench/count"
	arrivalsPath = "/_bench/arrivals" // ?from=N skips the first N
)

// farSide is the state of the plain far side. It is safe for concurrent use.
type farSide struct {
	settings farSideSettings

	mu       sync.Mutex
	posts    int
	arrivals []arrival // with Keep only
}

func serveFarSide(ctx context.Context, addr string, s farSideSettings) error {
	return rig.Listen(ctx, addr, (&farSide{settings: s}).handler())
}

func (f *farSide) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+countPath, func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		json.NewEncoder(w).Encode(farSideCount{f.posts})
	})
	mux.HandleFunc("GET "+arrivalsPath, f.list)
	mux.HandleFunc("POST /", f.accept)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}") // workers read the properties of their numbers
	})
	return mux
}

func (f *farSide) accept(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if f.settings.Latency > 0 {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(f.settings.Latency):
		}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"messaging_product":"whatsapp","contacts":[{"input":"1","wa_id":"1"}],"messages":[{"id":"%s"}]}`, f.record(at, r.URL.Path, body))
}

// record counts a request and returns its wamid, which has the length of Meta's.
func (f *farSide) record(at time.Time, path string, body []byte) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.posts++
	wamid := fmt.Sprintf("wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI4RUZG%010d", f.posts)
	if f.settings.Keep {
		number := strings.TrimSuffix(path, "/messages")
		f.arrivals = append(f.arrivals, arrival{
			At: at, Number: number[strings.LastIndexByte(number, '/')+1:],
			To: member(body, "to"), Marker: member(body, "biz_opaque_callback_data"), WAMID: wamid,
		})
	}
	return wamid
}

// member returns the first string member with this name in a compact JSON object. It costs less than a
// JSON decoder, and is sufficient for the bodies of load runs.
func member(body []byte, name string) string {
	_, rest, _ := bytes.Cut(body, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

func (f *farSide) list(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.FormValue("from"))
	if err != nil || from < 0 {
		http.Error(w, "from: not a count", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	all := f.arrivals[min(from, len(f.arrivals)):]
	f.mu.Unlock() // the elements of all do not change
	lines := json.NewEncoder(w)
	for _, a := range all {
		if lines.Encode(a) != nil {
			return
		}
	}
}

// farSide starts the plain far side in place of the simulator. The programs must be configured after it.
func (w *world) farSide(ctx context.Context, s farSideSettings) error {
	addr, err := ports.Free()
	if err != nil {
		return err
	}
	w.far, err = w.Served(ctx, "farside", addr, s)
	return err
}

// taken returns how many messages the far side has accepted: the plain one, or the simulator.
func (w *world) taken(ctx context.Context) (int, error) {
	switch {
	case w.far != nil:
		b, err := w.Get(ctx, "http://"+w.far.Addr+countPath)
		if err != nil {
			return 0, fmt.Errorf("count at the far side: %w", err)
		}
		var c farSideCount
		return c.Posts, json.Unmarshal(b, &c)
	case w.Sim != nil:
		s, err := w.Stats(ctx)
		return s.Accepted, err
	}
	return 0, nil
}

// arrived returns the requests that the plain far side kept, without the first from.
func (w *world) arrived(ctx context.Context, from int) (all []arrival, err error) {
	b, err := w.Get(ctx, fmt.Sprintf("http://%s%s?from=%d", w.far.Addr, arrivalsPath, from))
	if err != nil {
		return nil, fmt.Errorf("list arrivals at the far side: %w", err)
	}
	for line := range bytes.Lines(b) {
		var a arrival
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("list arrivals at the far side: %w", err)
		}
		all = append(all, a)
	}
	return all, nil
}
