package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/store"
)

// maxNames is how many named cursors an installation has at most.
const maxNames = 1000

var errTooMany = errors.New("there are too many named cursors")

// Names are the named cursors of an installation, in Redis.
type Names struct {
	db *store.DB
}

// NewNames returns the named cursors. It does not access Redis.
func NewNames(db *store.DB) *Names { return &Names{db} }

// namesKey returns the Redis key of the named cursors: a hash from names to entries as JSON.
func namesKey() string { return store.Key(message.Shard(0), "feed:cursors") }

// entry is a stored cursor.
type entry struct {
	Cursor  string    `json:"cursor"`
	At      time.Time `json:"at"` // of the cursor
	Updated time.Time `json:"updated"`
	Key     string    `json:"key"`     // the name of the API key that stored it first
	Numbers []string  `json:"numbers"` // the phone number ids of that API key
}

// entry returns a cursor to store.
func (f *Feed) entry(key httpapi.Key, c cursor) entry {
	return entry{Cursor: c.encode(f.o.Tail.Shards()), At: c.at, Updated: f.now(), Key: key.Name, Numbers: key.Numbers}
}

// allows reports whether an API key may use the cursor: the key that stored it first, or one for all of its numbers.
func (e entry) allows(key httpapi.Key) bool {
	return e.Key == key.Name || !slices.ContainsFunc(e.Numbers, func(number string) bool { return !key.Covers(number) })
}

// get returns a stored cursor; the zero value: there is none.
func (n *Names) get(ctx context.Context, name string) (e entry, err error) {
	text, err := n.db.HGet(ctx, namesKey(), name).Result()
	if errors.Is(err, redis.Nil) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &e)
	}
	if err != nil {
		return e, fmt.Errorf("read a named cursor: %w", err)
	}
	return e, nil
}

// all returns the stored cursors by name.
func (n *Names) all(ctx context.Context) (map[string]entry, error) {
	texts, err := n.db.HGetAll(ctx, namesKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("read the named cursors: %w", err)
	}
	all := make(map[string]entry, len(texts))
	for name, text := range texts {
		var e entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, fmt.Errorf("read a named cursor: %w", err)
		}
		all[name] = e
	}
	return all, nil
}

// set stores a cursor durably. A cursor that is stored already keeps its API key.
func (n *Names) set(ctx context.Context, name string, e entry) error {
	old, err := n.get(ctx, name)
	if err != nil {
		return err
	}
	if old.Cursor != "" {
		e.Key, e.Numbers = old.Key, old.Numbers
	} else if count, err := n.db.HLen(ctx, namesKey()).Result(); err != nil {
		return fmt.Errorf("count the named cursors: %w", err)
	} else if count >= maxNames {
		return errTooMany
	}
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("store a named cursor: %w", err)
	}
	err = n.db.Durably(ctx, func(p redis.Pipeliner) { p.HSet(ctx, namesKey(), name, text) })
	if err != nil {
		return fmt.Errorf("store a named cursor: %w", err)
	}
	return nil
}

// remove removes a stored cursor.
func (n *Names) remove(ctx context.Context, name string) error {
	if err := n.db.HDel(ctx, namesKey(), name).Err(); err != nil {
		return fmt.Errorf("remove a named cursor: %w", err)
	}
	return nil
}

// namedCursor describes a named cursor.
type namedCursor struct {
	Name    string    `json:"name" doc:"Its name."`
	Cursor  string    `json:"cursor" doc:"The last cursor that was acknowledged."`
	At      time.Time `json:"at" doc:"About everything before this time is acknowledged."`
	Lag     int       `json:"lag_seconds" doc:"How long ago that is, in seconds. A consumer without new events also has to acknowledge the cursors of empty pages."`
	Updated time.Time `json:"updated_at" doc:"When it was stored."`
	Key     string    `json:"api_key" doc:"The name of the API key that created it."`
}

// namedCursors is the answer of GET /v1/events/cursors.
type namedCursors struct {
	Cursors []namedCursor `json:"cursors" doc:"The named cursors that the API key may use."`
}

// acknowledgement is the body of PUT /v1/events/cursors/{name}.
type acknowledgement struct {
	Cursor string `json:"cursor" doc:"The cursor up to which you have handled all events: cursor of a page, or the last id of a stream."`
}

func (f *Feed) show(name string, e entry) namedCursor {
	lag := max(0, int(f.now().Sub(e.At).Seconds()))
	return namedCursor{Name: name, Cursor: e.Cursor, At: e.At.UTC(), Lag: lag, Updated: e.Updated.UTC(), Key: e.Key}
}

// list serves GET /v1/events/cursors.
func (f *Feed) list(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	key, refused := f.o.Keys.Authorize(r, httpapi.ScopeEvents)
	if refused != nil {
		refused.Write(w)
		return
	}
	all, err := f.o.Names.all(ctx)
	if err != nil {
		f.unavailable(err).Write(w)
		return
	}
	shown := namedCursors{Cursors: []namedCursor{}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name].allows(key) {
			shown.Cursors = append(shown.Cursors, f.show(name, all[name]))
		}
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
}

// named checks a request about the named cursor in its path.
func (f *Feed) named(ctx context.Context, r *http.Request) (key httpapi.Key, name string, e entry, refused httpapi.Refusal) {
	if key, refused = f.o.Keys.Authorize(r, httpapi.ScopeEvents); refused != nil {
		return key, name, e, refused
	}
	if name = r.PathValue("name"); !goodName.MatchString(name) {
		return key, name, e, httpapi.RefuseAt("name", "cursor_name_invalid")
	}
	e, err := f.o.Names.get(ctx, name)
	switch {
	case err != nil:
		return key, name, e, f.unavailable(err)
	case e.Cursor != "" && !e.allows(key):
		return key, name, e, httpapi.RefuseAt("name", "cursor_name_taken")
	}
	return key, name, e, nil
}

// put serves PUT /v1/events/cursors/{name}.
func (f *Feed) put(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	key, name, _, refused := f.named(ctx, r)
	var body acknowledgement
	if refused == nil {
		refused = httpapi.ReadJSON(w, r, &body)
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	at, err := decodeCursor(body.Cursor, f.o.Tail.Shards())
	if err != nil {
		httpapi.RefuseAt("cursor", "cursor_invalid").Write(w)
		return
	}
	e := f.entry(key, at)
	switch err := f.o.Names.set(ctx, name, e); {
	case errors.Is(err, errTooMany):
		httpapi.RefuseAt("name", "cursor_names_too_many").Write(w)
	case err != nil:
		f.unavailable(err).Write(w)
	default:
		httpapi.WriteJSON(w, "application/json", http.StatusOK, f.show(name, e))
	}
}

// remove serves DELETE /v1/events/cursors/{name}.
func (f *Feed) remove(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	_, name, e, refused := f.named(ctx, r)
	if refused == nil && e.Cursor == "" {
		refused = httpapi.RefuseAt("name", "cursor_name_not_found")
	}
	if refused == nil {
		if err := f.o.Names.remove(ctx, name); err != nil {
			refused = f.unavailable(err)
		}
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, f.show(name, e))
}
