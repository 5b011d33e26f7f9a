package templates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// The keys of the catalogue. A reader asks for the revision, and reads the rest when it has changed.
const (
	revisionKey  = "sluice:templates:revision"  // a number that grows with each change
	revisionsKey = "sluice:templates:revisions" // a hash: by account, a number that grows with each change of its templates
	syncsKey     = "sluice:templates:syncs"     // a hash: by account, a message.TemplateSync
	wantedKey    = "sluice:templates:wanted"    // a hash: by account, when a sync was last asked for, in Unix milliseconds
	turnKey      = "sluice:templates:turn"      // exists while no request to Meta may begin
)

// templatesKey is a hash of the templates of an account: by message.TemplateID, a message.Template.
func templatesKey(account string) string { return "sluice:templates:of:" + account }

// lockKey exists while a worker synchronises an account.
func lockKey(account string) string { return "sluice:templates:lock:" + account }

// unlockLua deletes a lock of its owner.
const unlockLua = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0`

// Store stores the templates of accounts. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	unlock store.Script
}

// NewStore returns the Store of an installation.
func NewStore(db *store.DB) *Store { return &Store{db, db.Script(unlockLua)} }

// Change changes a stored template as a webhook says, and asks for a sync of its account. A template that is not stored stays
// unknown until then.
func (s *Store) Change(ctx context.Context, account string, c message.TemplateChange) error {
	id := message.TemplateID(c.Name, c.Language)
	text, err := s.db.HGet(ctx, templatesKey(account), id).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read a template: %w", err)
	}
	var t message.Template
	if err == nil && json.Unmarshal([]byte(text), &t) == nil {
		set := func(member *string, value string) {
			if value != "" {
				*member = value
			}
		}
		restored := t.Status == "ARCHIVED"
		set(&t.Status, c.Status)
		set(&t.Category, c.Category)
		set(&t.Quality, c.Quality)
		if t.Changed = time.Now().UnixMilli(); restored && t.Status != "ARCHIVED" {
			t.Active = t.Changed
		}
		if err := s.write(ctx, account, []message.Template{t}, nil); err != nil {
			return err
		}
	}
	return s.Want(ctx, account)
}

// Want asks for a sync of accounts at once.
func (s *Store) Want(ctx context.Context, accounts ...string) error {
	now := time.Now().UnixMilli()
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, a := range accounts {
			p.HSet(ctx, wantedKey, a, now)
		}
	})
	if err == nil {
		err = s.db.Incr(ctx, revisionKey).Err() // only now readers may find it
	}
	if err != nil {
		return fmt.Errorf("ask for a sync of templates: %w", err)
	}
	return nil
}

// write stores templates of an account and removes others. A reader sees it after the next change of the revision.
func (s *Store) write(ctx context.Context, account string, changed []message.Template, gone []string) error {
	if len(changed)+len(gone) == 0 {
		return nil
	}
	fields := make([]any, 0, 2*len(changed))
	for _, t := range changed {
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		fields = append(fields, t.TemplateID(), text)
	}
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		if len(fields) > 0 {
			p.HSet(ctx, templatesKey(account), fields...)
		}
		if len(gone) > 0 {
			p.HDel(ctx, templatesKey(account), gone...)
		}
	})
	if err == nil {
		err = s.db.HIncrBy(ctx, revisionsKey, account, 1).Err()
	}
	if err != nil {
		return fmt.Errorf("store templates: %w", err)
	}
	return nil
}

// setSync stores how the sync of an account stands, and lets readers know.
func (s *Store) setSync(ctx context.Context, account string, state message.TemplateSync) error {
	text, err := json.Marshal(state)
	if err == nil {
		err = s.db.HSet(ctx, syncsKey, account, text).Err()
	}
	if err == nil {
		err = s.db.Incr(ctx, revisionKey).Err()
	}
	if err != nil {
		return fmt.Errorf("store the state of a sync of templates: %w", err)
	}
	return nil
}

// read returns the stored templates of accounts, one list for each.
func (s *Store) read(ctx context.Context, accounts []string) ([][]message.Template, error) {
	values := make([]*redis.StringSliceCmd, len(accounts))
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, a := range accounts {
			values[i] = p.HVals(ctx, templatesKey(a))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	all := make([][]message.Template, len(accounts))
	for i, texts := range values {
		for _, text := range texts.Val() {
			var t message.Template
			if json.Unmarshal([]byte(text), &t) == nil { // a damaged one is unknown until the next sync
				all[i] = append(all[i], t)
			}
		}
	}
	return all, nil
}

// index is what the store has of all accounts, without their templates.
type index struct {
	revisions map[string]string
	syncs     map[string]message.TemplateSync
	wanted    map[string]int64
}

// index reads the index.
func (s *Store) index(ctx context.Context) (x index, err error) {
	var revisions, syncs, wanted *redis.MapStringStringCmd
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		revisions, syncs, wanted = p.HGetAll(ctx, revisionsKey), p.HGetAll(ctx, syncsKey), p.HGetAll(ctx, wantedKey)
	})
	if err != nil {
		return x, fmt.Errorf("read the index of templates: %w", err)
	}
	x = index{revisions.Val(), map[string]message.TemplateSync{}, map[string]int64{}}
	for account, text := range syncs.Val() {
		var state message.TemplateSync
		json.Unmarshal([]byte(text), &state) // a damaged one is as if there were none
		x.syncs[account] = state
	}
	for account, text := range wanted.Val() {
		x.wanted[account], _ = strconv.ParseInt(text, 10, 64)
	}
	return x, nil
}

// revision returns the revision of the catalogue; empty: there is none.
func (s *Store) revision(ctx context.Context) (string, error) {
	text, err := s.db.Get(ctx, revisionKey).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("read the revision of templates: %w", err)
	}
	return text, nil
}

// lock lets the worker alone synchronise an account for d. It is false while another worker does.
func (s *Store) lock(ctx context.Context, account, worker string, d time.Duration) (bool, error) {
	_, err := s.db.SetArgs(ctx, lockKey(account), worker, redis.SetArgs{Mode: "NX", TTL: d}).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// release ends a lock of the worker.
func (s *Store) release(ctx context.Context, account, worker string) error {
	return s.db.Run(ctx, s.unlock, []string{lockKey(account)}, worker).Err()
}

// turn waits until the installation may make the next request to Meta: it makes one in each d.
func (s *Store) turn(ctx context.Context, d time.Duration) error {
	for {
		_, err := s.db.SetArgs(ctx, turnKey, 1, redis.SetArgs{Mode: "NX", TTL: d}).Result()
		if !errors.Is(err, redis.Nil) {
			return err
		}
		wait, err := s.db.PTTL(ctx, turnKey).Result()
		if err != nil {
			return err
		}
		select {
		case <-time.After(max(wait, time.Millisecond)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause lets the installation make no request to Meta for d.
func (s *Store) pause(ctx context.Context, d time.Duration) error {
	return s.db.Set(ctx, turnKey, 1, d).Err()
}
