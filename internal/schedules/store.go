package schedules

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/secrets"
	"sluice/internal/store"
)

// most is how many schedules an installation has at most.
const most = 10_000

var errTooMany = errors.New("there are too many schedules")

//go:embed change.lua
var changeLua string

// allKey is the schedules: a hash of encrypted entries by "<client>/<name>".
func allKey() string { return store.Key(0, "schedules") }

// dueKey is the next ticks of the schedules that are not paused: a sorted set of "<client>/<name>" by Unix ms.
func dueKey() string { return store.Key(0, "schedules:due") }

// entry is a stored schedule.
type entry struct {
	Timing
	Paused  bool            `json:"paused,omitempty"`
	Request json.RawMessage `json:"request"` // the body of POST /v1/messages
	Number  string          `json:"number"`  // that sends it
	To      string          `json:"to"`      // the masked recipient
	Key     string          `json:"key"`     // the name of the API key with whose rights it sends
	Changed time.Time       `json:"changed"`
	Next    time.Time       `json:"next,omitzero"` // the first tick that is not handled; zero: there is none
	Last    *scheduleTick   `json:"last,omitempty"`
	Skipped int             `json:"skipped,omitempty"`

	text string // as it is stored; empty: there is none
}

// repository stores schedules, encrypted with the secrets key: they contain recipients and texts for a long time. It is safe for concurrent use.
type repository struct {
	db     *store.DB
	box    secrets.Box
	change store.Script
}

// newRepository returns the schedules of an installation. It does not access Redis.
func newRepository(db *store.DB, box secrets.Box) *repository {
	return &repository{db, box, db.Script(changeLua)}
}

// purpose binds an encrypted entry to its place.
func purpose(id string) string { return "schedule " + id }

// open decrypts an entry; zero: there is none. After an error it has the text only.
func (s *repository) open(id, text string) (e entry, err error) {
	if e.text = text; text == "" {
		return e, nil
	}
	plain, err := s.box.Decrypt(purpose(id), text)
	if err == nil {
		err = json.Unmarshal([]byte(plain), &e)
	}
	if err != nil {
		return e, fmt.Errorf("read a schedule: %w", err)
	}
	return e, nil
}

// get returns some schedules, and why single ones cannot be decrypted; zero: there is none.
func (s *repository) get(ctx context.Context, ids []string) ([]entry, []error, error) {
	texts, err := s.db.HMGet(ctx, allKey(), ids...).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read schedules: %w", err)
	}
	all, errs := make([]entry, len(ids)), make([]error, len(ids))
	for i, text := range texts {
		text, _ := text.(string)
		all[i], errs[i] = s.open(ids[i], text)
	}
	return all, errs, nil
}

// scanned is how many entries Redis looks at in a step of each.
const scanned = 500

// each calls f for each schedule of a client. Some may come twice while others are stored or removed.
func (s *repository) each(ctx context.Context, client string, f func(id, text string) error) error {
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(client) + "/*"
	return s.scan(ctx, pattern, f)
}

func (s *repository) scan(ctx context.Context, pattern string, f func(id, text string) error) error {
	for cursor := uint64(0); ; {
		fields, next, err := s.db.HScan(ctx, allKey(), cursor, pattern, scanned).Result()
		if err != nil {
			return fmt.Errorf("read schedules: %w", err)
		}
		for i := 0; i+1 < len(fields); i += 2 {
			if err := f(fields[i], fields[i+1]); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// set stores a schedule in place of the text that was read; zero: it is removed. It is false if another one is stored by now.
func (s *repository) set(ctx context.Context, id, was string, e entry, durably bool) (stored bool, err error) {
	var text, next string
	if e.Key != "" {
		plain, err := json.Marshal(e)
		if err != nil {
			return false, err
		}
		if text, err = s.box.Encrypt(purpose(id), string(plain)); err != nil {
			return false, err
		}
	}
	if !e.Next.IsZero() {
		next = strconv.FormatInt(e.Next.UnixMilli(), 10)
	}
	keys, args := []string{allKey(), dueKey()}, []any{id, was, text, next}
	var reply *redis.Cmd
	if !durably {
		reply = s.db.Run(ctx, s.change, keys, args...)
	} else if err := s.db.Durably(ctx, func(p redis.Pipeliner) { reply = s.change.Add(ctx, p, keys, args...) }); err != nil {
		return false, fmt.Errorf("store a schedule: %w", err)
	}
	n, err := reply.Int()
	if err != nil {
		return false, fmt.Errorf("store a schedule: %w", err)
	}
	return n == 1, nil
}

// put stores a schedule durably, after change has made it of the one that is there; without a Key it is removed. If change is false nothing
// is stored. It can be called several times.
func (s *repository) put(ctx context.Context, id string, change func(*entry) bool) error {
	for {
		all, errs, err := s.get(ctx, []string{id})
		if err == nil && !errors.Is(errs[0], secrets.ErrDecrypt) { // one that was encrypted with a lost key can be replaced
			err = errs[0]
		}
		if err != nil {
			return err
		}
		e := all[0]
		if e.text == "" {
			if n, err := s.db.HLen(ctx, allKey()).Result(); err != nil {
				return fmt.Errorf("count schedules: %w", err)
			} else if n >= most {
				return errTooMany
			}
		}
		if !change(&e) {
			return nil
		}
		if stored, err := s.set(ctx, id, e.text, e, true); stored || err != nil {
			return err
		}
	}
}

// Reencrypt encrypts all schedules with the first secrets key, and returns how many had another one.
func (s *repository) Reencrypt(ctx context.Context) (n int, err error) {
	err = s.scan(ctx, "*", func(id, text string) error {
		for !s.box.Current(purpose(id), text) {
			e, err := s.open(id, text)
			if err != nil {
				return err
			}
			stored, err := s.set(ctx, id, text, e, true)
			if err != nil {
				return err
			}
			if stored {
				n++
				return nil
			}
			if text, err = s.db.HGet(ctx, allKey(), id).Result(); errors.Is(err, redis.Nil) {
				return nil // it was removed
			} else if err != nil {
				return fmt.Errorf("read a schedule: %w", err)
			}
		}
		return nil
	})
	return n, err
}

// due returns the schedules with a tick at a time or before it, the longest due first.
func (s *repository) due(ctx context.Context, now time.Time) ([]string, error) {
	ids, err := s.db.ZRangeByScore(ctx, dueKey(), &redis.ZRangeBy{Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10)}).Result()
	if err != nil {
		return nil, fmt.Errorf("read which schedules are due: %w", err)
	}
	return ids, nil
}
