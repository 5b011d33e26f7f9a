package feed

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/events"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// query is a request for events.
type query struct {
	key    httpapi.Key
	filter events.Filter
	keys   []string // of the streams that may have the events
	stream bool     // server-sent events
	limit  int
	wait   time.Duration
	cursor string // where to begin; empty: by name, else from
	ack    bool   // the caller has handled everything before cursor
	name   string // of the stored cursor; empty: none
	from   string
}

// goodName is the form of the name of a cursor.
var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// query reads a request. It checks its API key too.
func (f *Feed) query(r *http.Request) (q query, refused httpapi.Refusal) {
	if q.key, refused = f.o.Keys.Authorize(r, httpapi.ScopeEvents); refused != nil {
		return q, refused
	}
	v := r.URL.Query()
	q.stream = strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	q.filter, refused = filterOf(v, q.key)
	q.keys = events.Keys(f.shards(q.filter.Numbers), q.filter.Types)
	q.limit = defaultLimit
	if v.Has("limit") {
		n, err := strconv.ParseUint(v.Get("limit"), 10, 16)
		if q.limit = int(n); err != nil || q.limit < 1 || q.limit > maxLimit {
			refused = append(refused, httpapi.Problem("limit", "query_invalid"))
		}
	}
	if v.Has("wait") {
		var err error
		if q.wait, err = time.ParseDuration(v.Get("wait")); err != nil || q.wait < 0 || q.wait > maxWait {
			refused = append(refused, httpapi.Problem("wait", "query_invalid"))
		}
	}
	if q.name = v.Get("cursor_name"); q.name != "" && !goodName.MatchString(q.name) {
		refused = append(refused, httpapi.Problem("cursor_name", "cursor_name_invalid"))
	}
	q.from = v.Get("from")
	if _, isTime := httpapi.ParseTime(q.from); !isTime && !slices.Contains([]string{"", "now", "oldest"}, q.from) {
		refused = append(refused, httpapi.Problem("from", "from_unclear"))
	}
	q.cursor, q.ack = v.Get("cursor"), v.Get("cursor") != ""
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		q.cursor, q.ack = last, false // the caller has received the events before it, but perhaps not handled them
	}
	return q, refused
}

// filterOf reads the filter of a request, within the numbers that an API key covers.
func filterOf(v url.Values, key httpapi.Key) (filter events.Filter, refused httpapi.Refusal) {
	filter = events.Filter{Numbers: v["phone_number_id"], WABAs: v["waba_id"], Tags: v["tag"], Types: v["type"], Client: key.Client, Shared: key.Shared}
	for _, number := range filter.Numbers {
		if !message.IsNumberID(number) {
			refused = append(refused, httpapi.Problem("phone_number_id", "phone_number_id_invalid"))
		} else if !key.Covers(number) {
			refused = append(refused, httpapi.Problem("phone_number_id", "phone_number_id_not_found"))
		}
	}
	if filter.Numbers == nil && !key.CoversAll() {
		if filter.Numbers = key.Numbers; len(key.Numbers) == 0 {
			refused = append(refused, httpapi.Problem("", "phone_number_id_not_found"))
		}
	}
	for _, typ := range filter.Types {
		if !slices.Contains(message.EventTypes(), typ) {
			refused = append(refused, httpapi.Problem("type", "event_type_unknown"))
		}
	}
	return filter, refused
}

// shards returns the shards of numbers, or all shards if there are no numbers.
func (f *Feed) shards(numbers []string) (shards []message.Shard) {
	all := f.o.Tail.Shards()
	if len(numbers) == 0 {
		return all.All()
	}
	for _, number := range numbers {
		if shard := all.Of(number); !slices.Contains(shards, shard) {
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards
}

// start returns where a request begins. It stores the position of a named cursor that is new, or that the caller
// acknowledges.
func (f *Feed) start(ctx context.Context, q query) (at cursor, refused httpapi.Refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var stored entry
	if q.name != "" {
		var err error
		if stored, err = f.o.Names.get(ctx, q.name); err != nil {
			return at, f.unavailable(err)
		}
		if stored.Cursor != "" && !stored.allows(q.key) {
			return at, httpapi.RefuseAt("cursor_name", "cursor_name_taken")
		}
		if q.cursor == "" {
			q.cursor = stored.Cursor
		}
	}
	var err error
	if q.cursor == "" {
		at, err = f.begin(ctx, q)
	} else if at, err = decodeCursor(q.cursor, f.o.Tail.Shards()); err != nil {
		return at, httpapi.RefuseAt("cursor", "cursor_invalid")
	}
	if err == nil {
		at, err = f.complete(ctx, at, q.keys)
	}
	if err == nil && q.name != "" && (q.ack || stored.Cursor == "") {
		err = f.o.Names.set(ctx, q.name, f.entry(q.key, at))
	}
	switch {
	case err == errTooMany:
		return at, httpapi.RefuseAt("cursor_name", "cursor_names_too_many")
	case err != nil:
		return at, f.unavailable(err)
	}
	return at, nil
}

// begin returns the position that the parameter from names.
func (f *Feed) begin(ctx context.Context, q query) (cursor, error) {
	now := f.now()
	switch q.from {
	case "", "now":
		places, err := f.o.Tail.Last(ctx)
		return cursor{now, places}, err
	case "oldest":
		places, err := f.o.Tail.Oldest(ctx)
		return cursor{time.UnixMilli(1), places}, err
	}
	t, _ := httpapi.ParseTime(q.from)
	places, err := f.o.Tail.At(ctx, t)
	return cursor{t, places}, err
}

// complete returns a cursor with the places of exactly the streams with keys. Streams that it lacks begin at its time:
// the caller has changed the filter, or its API key has got other numbers.
func (f *Feed) complete(ctx context.Context, c cursor, keys []string) (cursor, error) {
	whole := cursor{c.at, make(map[string]events.Place, len(keys))}
	var others map[string]events.Place
	for _, key := range keys {
		p, has := c.places[key]
		if !has && others == nil {
			var err error
			if others, err = f.o.Tail.At(ctx, c.at); err != nil {
				return whole, err
			}
		}
		if !has {
			p = others[key]
		}
		whole.places[key] = p
	}
	return whole, nil
}
