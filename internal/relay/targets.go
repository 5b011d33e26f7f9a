package relay

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

//go:embed lua/change.lua
var changeLua string

// targetsKey is the Redis key of the targets: a hash from their names to their definitions.
const targetsKey = "sluice:relay:targets"

// changeTries is how often a change of a target is tried while others change the target.
const changeTries = 10

// ErrBusy means that a target changed again and again while it was to be changed.
var ErrBusy = errors.New("the target changes again and again. Retry")

// Targets are the definitions of the targets. Workers notice a change within seconds. It is safe for concurrent use.
type Targets struct {
	db     *store.DB
	shards message.Shards
	box    secrets.Box
	change store.Script
}

// NewTargets returns the targets of an installation. box encrypts their secrets.
func NewTargets(db *store.DB, shards message.Shards, box secrets.Box) *Targets {
	return &Targets{db: db, shards: shards, box: box, change: db.Script(changeLua)}
}

// CanEncrypt reports whether there is a key to encrypt secrets.
func (t *Targets) CanEncrypt() bool { return t.box.HasKey() }

// purpose is what the secret of a target is encrypted for.
func purpose(target string) string { return "relay target " + target }

// Secret returns the secret that signs the requests to a target; empty: they are not signed. Its error is secrets.ErrNoKey
// or secrets.ErrDecrypt.
func (t *Targets) Secret(one message.RelayTarget) (string, error) {
	if one.Encrypted == "" {
		return "", nil
	}
	return t.box.Decrypt(purpose(one.Name), one.Encrypted)
}

// all returns the definitions. One that cannot be read is left out.
func (t *Targets) all(ctx context.Context) (map[string]message.RelayTarget, error) {
	texts, err := t.db.HGetAll(ctx, targetsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read relay targets: %w", err)
	}
	found := make(map[string]message.RelayTarget, len(texts))
	for name, text := range texts {
		var one message.RelayTarget
		if json.Unmarshal([]byte(text), &one) == nil && one.Name == name {
			found[name] = one
		}
	}
	return found, nil
}

// update changes the definition of a target, durably. f gets the present one, or the zero value, and returns false to change
// nothing. A name that f makes empty removes the target. update returns whether it changed the target.
func (t *Targets) update(ctx context.Context, name string, f func(now int64, one *message.RelayTarget) bool) (bool, error) {
	for range changeTries {
		old, err := t.db.HGet(ctx, targetsKey, name).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return false, fmt.Errorf("read relay target: %w", err)
		}
		var one message.RelayTarget
		if old != "" {
			if err := json.Unmarshal([]byte(old), &one); err != nil {
				return false, fmt.Errorf("read relay target %s: %w", name, err)
			}
		}
		now, err := t.db.Now(ctx, targetsKey)
		if err != nil {
			return false, err
		}
		if !f(now.UnixMilli(), &one) {
			return false, nil
		}
		var text []byte
		if one.Name != "" {
			if text, err = json.Marshal(one); err != nil {
				return false, err
			}
		}
		var changed *redis.Cmd
		err = t.db.Durably(ctx, func(p redis.Pipeliner) { changed = t.change.Add(ctx, p, []string{targetsKey}, name, old, text) })
		if err != nil {
			return false, fmt.Errorf("change relay target: %w", err)
		}
		if n, _ := changed.Int(); n == 1 {
			return true, nil
		}
	}
	return false, ErrBusy
}

// Set adds a target, or changes it. A new target gets the events that are written from now on; a changed one continues.
// Without a secret a changed target keeps the one that it has. The error wraps secrets.ErrNoKey if there is a secret and
// no key.
func (t *Targets) Set(ctx context.Context, one message.RelayTarget, secret string) (added bool, err error) {
	one.Encrypted = ""
	if secret != "" {
		if one.Encrypted, err = t.box.Encrypt(purpose(one.Name), secret); err != nil {
			return false, err
		}
	}
	_, err = t.update(ctx, one.Name, func(now int64, old *message.RelayTarget) bool {
		added = old.Name == ""
		next := one
		next.Encrypted = cmp.Or(one.Encrypted, old.Encrypted)
		if next.Born, next.From, next.Generation = now, now, now; !added {
			next.Born, next.From, next.Generation, next.Requeued, next.Released = old.Born, old.From, old.Generation, old.Requeued, old.Released
			next.HeldSince, next.HeldBy, next.HeldReason = old.HeldSince, old.HeldBy, old.HeldReason
		}
		*old = next
		return true
	})
	return added, err
}

// Reencrypt encrypts the secrets of all targets with the first key of the box, and returns how many there are.
func (t *Targets) Reencrypt(ctx context.Context) (int, error) {
	found, err := t.all(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(found)) {
		var failed error
		changed, err := t.update(ctx, name, func(_ int64, one *message.RelayTarget) bool {
			if one.Name == "" || one.Encrypted == "" {
				return false
			}
			secret, err := t.Secret(*one)
			if err == nil {
				one.Encrypted, err = t.box.Encrypt(purpose(one.Name), secret)
			}
			failed = err
			return err == nil
		})
		if err = errors.Join(err, failed); err != nil {
			return total, fmt.Errorf("encrypt the secret of relay target %s: %w", name, err)
		}
		if changed {
			total++
		}
	}
	return total, nil
}

// Remove removes a target with its position, its events set aside and its dead letters. It returns false if there is none.
func (t *Targets) Remove(ctx context.Context, name string) (bool, error) {
	return t.update(ctx, name, func(_ int64, one *message.RelayTarget) bool {
		was := one.Name != ""
		one.Name = ""
		return was
	})
}

// Hold stops the requests to a target until Release. It returns false if there is no such target.
func (t *Targets) Hold(ctx context.Context, name, by, reason string) (bool, error) {
	return t.update(ctx, name, func(now int64, one *message.RelayTarget) bool {
		one.HeldSince, one.HeldBy, one.HeldReason = time.UnixMilli(now).UTC(), by, reason
		return one.Name != ""
	})
}

// Release ends a hold. It returns false if there is no such target.
func (t *Targets) Release(ctx context.Context, name string) (bool, error) {
	return t.update(ctx, name, func(now int64, one *message.RelayTarget) bool {
		one.HeldSince, one.HeldBy, one.HeldReason, one.Released = time.Time{}, "", "", now
		return one.Name != ""
	})
}

// Replay relays all events that were written from a time on again. It returns false if there is no such target.
func (t *Targets) Replay(ctx context.Context, name string, from time.Time) (bool, error) {
	return t.update(ctx, name, func(now int64, one *message.RelayTarget) bool {
		one.From, one.Generation = from.UnixMilli(), max(now, one.Generation+1)
		return one.Name != ""
	})
}

// ReplayDead relays the dead letters of a target again. It returns false if there is no such target.
func (t *Targets) ReplayDead(ctx context.Context, name string) (bool, error) {
	return t.update(ctx, name, func(now int64, one *message.RelayTarget) bool {
		one.Requeued = max(now, one.Requeued+1)
		return one.Name != ""
	})
}

// DropDead removes the dead letters of a target. It returns false if there is no such target.
func (t *Targets) DropDead(ctx context.Context, name string) (bool, error) {
	there, err := t.db.HExists(ctx, targetsKey, name).Result()
	if err == nil && there {
		err = t.db.Pipe(ctx, func(p redis.Pipeliner) {
			for _, s := range t.shards.All() {
				p.Unlink(ctx, deadKey(s, name))
			}
		})
	}
	if err != nil {
		return false, fmt.Errorf("drop dead letters of a relay target: %w", err)
	}
	return there, nil
}

// Count returns the number of targets.
func (t *Targets) Count(ctx context.Context) (int, error) {
	n, err := t.db.HLen(ctx, targetsKey).Result()
	if err != nil {
		return 0, fmt.Errorf("count relay targets: %w", err)
	}
	return int(n), nil
}

// Workers returns the number of living workers that relay.
func (t *Targets) Workers(ctx context.Context) (int, error) {
	now, err := t.db.Now(ctx, membersKey())
	if err != nil {
		return 0, err
	}
	n, err := t.db.ZCount(ctx, membersKey(), strconv.FormatInt(now.UnixMilli(), 10), "+inf").Result()
	if err != nil {
		return 0, fmt.Errorf("count workers that relay: %w", err)
	}
	return int(n), nil
}

// List returns all targets by name, with what the workers stored about them within the last seconds.
func (t *Targets) List(ctx context.Context) ([]message.RelayStatus, error) {
	found, err := t.all(ctx)
	if err != nil {
		return nil, err
	}
	var all []message.RelayStatus
	for _, name := range slices.Sorted(maps.Keys(found)) {
		one := message.RelayStatus{RelayTarget: found[name], State: message.RelayWaiting}
		if !one.HeldSince.IsZero() {
			one.State = message.RelayHeld
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, nil
	}
	stored := make([]*redis.SliceCmd, t.shards)
	dead := make([][]*redis.IntCmd, t.shards)
	var names []string
	for _, one := range all {
		names = append(names, one.Name)
	}
	err = t.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range t.shards.All() {
			stored[i], dead[i] = p.HMGet(ctx, progressKey(s), names...), nil
			for _, name := range names {
				dead[i] = append(dead[i], p.XLen(ctx, deadKey(s, name)))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the state of relay targets: %w", err)
	}
	now, err := t.db.Now(ctx, targetsKey)
	if err != nil {
		return nil, err
	}
	for i := range stored {
		for n, value := range stored[i].Val() {
			all[n].Dead += int(dead[i][n].Val())
			text, _ := value.(string)
			var g progress
			if json.Unmarshal([]byte(text), &g) == nil && g.Born == all[n].Born {
				g.addTo(&all[n], now)
			}
		}
	}
	return all, nil
}

// addTo adds the progress in one shard to the status of a target.
func (g progress) addTo(s *message.RelayStatus, now time.Time) {
	if s.State == message.RelayWaiting {
		s.State = message.RelayActive
	}
	if g.Failing > 0 {
		if since := time.UnixMilli(g.Failing).UTC(); s.Since.IsZero() || since.Before(s.Since) {
			s.Since = since
		}
		if s.State == message.RelayActive && g.Paused {
			s.State = message.RelayFailing
		}
		s.Error = cmp.Or(g.Error, s.Error)
		if g.Next > 0 {
			s.NextTry = time.UnixMilli(g.Next).UTC()
		}
	}
	s.SetAside += g.Aside
	s.Gaps += g.Gaps
	if to := time.UnixMilli(g.GapTo).UTC(); g.GapTo > 0 && to.After(s.GapTo) {
		s.GapFrom, s.GapTo = time.UnixMilli(g.GapFrom).UTC(), to
	}
	if g.Oldest > 0 {
		s.Lag = max(s.Lag, now.Sub(time.UnixMilli(g.Oldest)))
	}
}

// Dead returns up to limit dead letters of a target, the latest first.
func (t *Targets) Dead(ctx context.Context, name string, limit int) ([]message.RelayDeadLetter, error) {
	entries := make([]*redis.XMessageSliceCmd, t.shards)
	err := t.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range t.shards.All() {
			entries[i] = p.XRevRangeN(ctx, deadKey(s, name), "+", "-", int64(limit))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters of a relay target: %w", err)
	}
	var all []message.RelayDeadLetter
	for _, c := range entries {
		for _, x := range c.Val() {
			one, ok := readAside(x.Values["event"])
			if !ok {
				continue
			}
			ms, _, _ := strings.Cut(x.ID, "-")
			at, _ := strconv.ParseInt(ms, 10, 64)
			all = append(all, message.RelayDeadLetter{At: time.UnixMilli(at).UTC(), Event: one.Text, Tries: one.Tries, Error: one.Error})
		}
	}
	slices.SortStableFunc(all, func(a, b message.RelayDeadLetter) int { return b.At.Compare(a.At) })
	return all[:min(limit, len(all))], nil
}
