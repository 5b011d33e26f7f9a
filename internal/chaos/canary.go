package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	packed "sluice/internal/record"
	"sluice/internal/rig"
)

// canaries are the secrets of the rig, and the texts and recipients of its messages. They may be only in their
// places.
var canaries = regexp.MustCompile(strings.Join([]string{
	rig.Token, rig.AppSecret, rig.APIKey, rig.VerifyToken, rig.MarkerKey,
	`Your order has left`, `x{40}`,
	`\b4900\d{7}00\b`, `\b99999900006\b`,
}, "|"))

// leaks collects where canaries were found: for each place one of them, with the text around it.
type leaks struct {
	mu    sync.Mutex
	found map[string]string
}

// look searches a text found at a place.
func (l *leaks) look(place, text string) {
	at := canaries.FindStringIndex(text)
	if at == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found[place] = fmt.Sprintf("%q", text[max(0, at[0]-60):min(len(text), at[1]+20)])
}

// leaked searches for canaries in all that the row's programs printed, served and answered, and in Redis.
func (r *run) leaked() map[string]string {
	l := &leaks{found: map[string]string{}}
	for _, p := range r.Children() {
		if p.Ops == "" { // not a program of Sluice: the simulator, for example, has all of them
			continue
		}
		b, err := os.ReadFile(p.Log)
		r.must(err, "read a log")
		l.look("the log "+filepath.Base(p.Log), string(b))
		if p.Alive() != nil {
			continue
		}
		for _, page := range []string{"/metrics", "/readyz", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1"} {
			if b, err := r.Get(r.ctx, "http://"+p.Ops+page); err == nil { // a frozen program does not answer
				l.look(page+" of "+p.Name, string(b))
			}
		}
	}
	for _, o := range r.producer.orders {
		l.look("a refusal of the API", o.Last)
	}
	r.must(r.masters(l.redis), "search Redis")
	return maps.Clone(l.found)
}

// redis searches every key and value of one master.
func (l *leaks) redis(ctx context.Context, c redis.Cmdable) error {
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		l.look("the name of a key", key)
		if private(key) {
			continue
		}
		values, err := contents(ctx, c, key)
		if err != nil {
			return err
		}
		for _, v := range values {
			for line := range strings.SplitSeq(withoutPayload(key, v), "\n") {
				if canaries.MatchString(line) {
					l.look("the key "+key, withoutMeta(line))
				}
			}
		}
	}
	return keys.Err()
}

// private reports whether a key is the place for webhooks of Meta that Sluice cannot read.
func private(key string) bool { return key == events.QuarantineKey() }

// keeps reports whether the record of a message in a state is the place of its content, because the message may be
// sent or an operator may send it again.
func keeps(s message.State) bool {
	return s.Kept() || slices.Contains(message.ResendStates(), s)
}

// withoutPayload returns a record without its payload, if the record is the place of it, and any other value as
// it is.
func withoutPayload(key, value string) string {
	_, id, found := strings.Cut(key, "}:m:")
	r, err := packed.Decode(id, value)
	if !found || err != nil || !keeps(r.State) {
		return value
	}
	r.Payload = ""
	return string(r.Encode())
}

// withoutMeta returns an event without what Meta sent, because the event is the place of it, and any other text
// as it is.
func withoutMeta(text string) string {
	var e message.Event
	if json.Unmarshal([]byte(text), &e) != nil || e.Version == 0 {
		return text
	}
	e.Meta, e.Contacts = nil, nil
	b, err := json.Marshal(e)
	if err != nil {
		return text
	}
	return string(b)
}

// contents returns all texts in a key.
func contents(ctx context.Context, c redis.Cmdable, key string) (all []string, err error) {
	kind, err := c.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "string":
		var v string
		v, err = c.Get(ctx, key).Result()
		all = []string{v}
	case "hash":
		var h map[string]string
		h, err = c.HGetAll(ctx, key).Result()
		for field, v := range h {
			all = append(all, field, v)
		}
	case "list":
		all, err = c.LRange(ctx, key, 0, -1).Result()
	case "set":
		all, err = c.SMembers(ctx, key).Result()
	case "zset":
		all, err = c.ZRange(ctx, key, 0, -1).Result()
	case "stream":
		var entries []redis.XMessage
		entries, err = c.XRange(ctx, key, "-", "+").Result()
		for _, x := range entries {
			for _, v := range x.Values {
				all = append(all, fmt.Sprint(v))
			}
		}
	case "none": // the key expired in the meantime
	default:
		return nil, fmt.Errorf("%s: a %s is not searched", key, kind)
	}
	if err == redis.Nil {
		err = nil
	}
	return all, err
}
