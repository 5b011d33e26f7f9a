package directory

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

var (
	//go:embed change.lua
	changeLua string
	//go:embed read.lua
	readLua string
)

// place is the shard that has all stored entries: each of them concerns all programs, and few change.
const place = message.Shard(0)

// kinds are the kinds of entries of operators.
var kinds = []Kind{KindNumber, KindApp, KindKey, KindClient}

// hashes are the kinds of stored entries, in the order of their hashes in the scripts.
var hashes = append(slices.Clip(kinds), kindMove)

// revisionKey is the Redis key of the revision of all stored entries: a number that grows with each change. Absent: nothing was ever
// stored.
func revisionKey() string { return store.Key(place, "directory:revision") }

// kindKey is the Redis key of the stored entries of a kind: a hash by id. A value is the revision of the entry, a blank, and a
// document as JSON; "-" as the document marks a removed entry.
func kindKey(k Kind) string { return store.Key(place, "directory:"+string(k)) }

// document is a stored entry as JSON.
type document struct {
	Entry   json.RawMessage   `json:"entry"`
	Secrets map[string]sealed `json:"secrets,omitempty"`
}

// sealed is an encrypted secret.
type sealed struct {
	Text string `json:"text"` // of secrets.Box
	SecretInfo
}

// stored is what Redis has of an entry.
type stored struct {
	revision int64
	removed  bool
	document
	entry Entry // in document; nil: it was removed

	text string   // as Redis has it
	read *reading // what a Directory has read of it; nil: it has not yet
}

// reading is what a process has read of a stored entry. It stays while the entry does not change: to read them all again with each
// change would keep the processor from what is being sent.
type reading struct {
	parsed   config.Entries
	mistakes []config.Mistake
	secrets  map[string]opened
}

// File has the entries of the configuration file of a process.
type File struct {
	Numbers []config.Number
	Tokens  *config.Tokens // the access tokens of the file that this process can read; nil: none
	Apps    []config.App
	APIKeys []config.APIKey
	Clients []config.Client
	Classes map[string]config.Class // settings of classes for all numbers
}

// StoreOptions are the options of a Store.
type StoreOptions struct {
	DB   *store.DB
	Box  secrets.Box // encrypts the secrets; without a key, secrets are refused
	File File
	// Unfinished returns how many messages still need a number. RemoveNumber needs it.
	Unfinished func(ctx context.Context, number string) (int, error)
	// Accounts returns the known WhatsApp Business Accounts, by number. A removal with BacklogMove needs it.
	Accounts func(ctx context.Context) (map[string]string, error)
}

// Store changes the stored entries. It is safe for concurrent use.
type Store struct {
	o            StoreOptions
	change, read store.Script
	reencrypt    []func(ctx context.Context) (int, error) // of other packages
}

// NewStore returns the store of an installation.
func NewStore(o StoreOptions) *Store {
	return &Store{o: o, change: o.DB.Script(fmt.Sprintf("local AUDIT = '%s' -- the field of an entry\n", audit.Field) + changeLua), read: o.DB.Script(readLua)}
}

// oneChange is a change of one entry, for the script.
type oneChange struct {
	kind     Kind
	id       string
	expected int64 // revision
	document *document
	verb, on string // of the audit entry; empty: there is none
}

// apply makes changes, all or none, durably, and returns the new revision. Its error is a *ConflictError if an entry has another
// revision than expected.
func (s *Store) apply(ctx context.Context, c Change, changes ...oneChange) (int64, error) {
	var args []any
	for _, one := range changes {
		text := []byte("-")
		var err error
		if one.document != nil {
			if text, err = json.Marshal(one.document); err != nil {
				return 0, fmt.Errorf("store %s: %w", one.kind, err)
			}
		}
		var entry []byte
		if one.verb != "" {
			if entry, err = json.Marshal(message.AuditEntry{Verb: one.verb, On: one.on, Actor: c.Actor, Key: c.Key, Reason: c.Reason}); err != nil {
				return 0, fmt.Errorf("store %s: %w", one.kind, err)
			}
		}
		args = append(args, 3+slices.Index(hashes, one.kind), one.id, one.expected, text, entry)
	}
	keys := []string{revisionKey(), audit.Key(place)}
	for _, k := range hashes {
		keys = append(keys, kindKey(k))
	}
	var cmd *redis.Cmd
	if err := s.o.DB.Durably(ctx, func(p redis.Pipeliner) { cmd = s.change.Add(ctx, p, keys, args...) }); err != nil {
		return 0, fmt.Errorf("store entries: %w", err)
	}
	if reply, err := cmd.Slice(); err == nil && len(reply) == 2 {
		i, _ := reply[0].(int64)
		text, _ := reply[1].(string)
		current, _ := strconv.ParseInt(text, 10, 64)
		one := changes[i-1]
		return 0, &ConflictError{one.kind, one.id, current}
	}
	text, err := cmd.Text()
	if err != nil {
		return 0, fmt.Errorf("store entries: %w", err)
	}
	return strconv.ParseInt(text, 10, 64)
}

// contents are all stored entries, by kind and id.
type contents struct {
	revision string
	entries  map[Kind]map[string]stored
	unread   []string // entries that cannot be read, as "kind id"
}

// load reads all stored entries.
func (s *Store) load(ctx context.Context) (contents, error) { return s.reload(ctx, contents{}) }

// reload reads all stored entries, and decodes those that differ from what was read before.
func (s *Store) reload(ctx context.Context, before contents) (contents, error) {
	c := contents{entries: map[Kind]map[string]stored{}}
	keys := []string{revisionKey()}
	for _, k := range hashes {
		keys = append(keys, kindKey(k))
		c.entries[k] = map[string]stored{}
	}
	reply, err := s.o.DB.Run(ctx, s.read, keys).Slice()
	if err != nil || len(reply) != len(keys) {
		return c, fmt.Errorf("read the stored numbers, apps, API keys and clients: %w", errors.Join(err, ctx.Err()))
	}
	c.revision, _ = reply[0].(string)
	for i, k := range hashes {
		fields, _ := reply[i+1].([]any)
		for n := 0; n+1 < len(fields); n += 2 {
			id, _ := fields[n].(string)
			value, _ := fields[n+1].(string)
			if was, known := before.entries[k][id]; known && was.text == value {
				c.entries[k][id] = was
				continue
			}
			revision, text, _ := strings.Cut(value, " ")
			one := stored{removed: text == "-", text: value}
			one.revision, err = strconv.ParseInt(revision, 10, 64)
			if !one.removed && err == nil {
				err = json.Unmarshal([]byte(text), &one.document)
			}
			if !one.removed && err == nil {
				one.entry, err = decode(k, one.document)
			}
			if err != nil {
				c.unread = append(c.unread, string(k)+" "+id)
				continue
			}
			c.entries[k][id] = one
		}
	}
	return c, nil
}

// found returns a stored entry; nil: there is none, or it was removed.
func (c contents) found(k Kind, id string) *stored {
	if one, ok := c.entries[k][id]; ok && !one.removed {
		return &one
	}
	return nil
}

// expected returns the revision that an entry must have when a change is made.
func (c contents) expected(k Kind, id string, revision int64) int64 {
	if revision != AnyRevision {
		return revision
	}
	if one := c.found(k, id); one != nil {
		return one.revision
	}
	return 0
}

// List reads all entries from Redis, and adds those of the file that no stored entry replaces.
func (s *Store) List(ctx context.Context) (Entries, error) {
	c, err := s.load(ctx)
	if err != nil {
		return Entries{}, err
	}
	all := s.o.File.merge(c).entries()
	for i := range all.Numbers {
		if n := &all.Numbers[i]; n.Leaving != "" && s.o.Unfinished != nil {
			if n.Left, err = s.o.Unfinished(ctx, n.PhoneNumberID); err != nil {
				return Entries{}, err
			}
		}
	}
	return all, s.addUses(ctx, all.APIKeys)
}

// Put stores an entry, with the secrets that are given; other stored secrets of the entry stay. It writes the audit entry in the
// same script. It returns the new revision of the entry. Its error is an *InvalidError, a *ConflictError, or wraps secrets.ErrNoKey
// if there are secrets and no key.
func (s *Store) Put(ctx context.Context, e Entry, given Secrets, c Change) (int64, error) {
	in, err := s.load(ctx)
	if err != nil {
		return 0, err
	}
	parsed, mistakes := parse(e, s.o.File.Classes)
	if mistakes = append(mistakes, checkSecrets(e.Kind(), given)...); len(mistakes) == 0 {
		e = indexOf(parsed).list()[0] // in one form, and not leaving any more
		mistakes = s.o.File.merge(in).refer(e)
	}
	if len(mistakes) > 0 {
		return 0, &InvalidError{mistakes}
	}
	one, err := s.put(in, e, given, time.Now())
	if err != nil {
		return 0, err
	}
	one.expected = in.expected(e.Kind(), e.ID(), c.Revision)
	changes := []oneChange{one}
	if e.Kind() == KindNumber {
		for _, id := range in.moves(e.ID()) { // the number is in use again: its keys are its own
			changes = append(changes, oneChange{kind: kindMove, id: id, expected: in.expected(kindMove, id, AnyRevision)})
		}
	}
	return s.apply(ctx, c, changes...)
}

// put returns the change that stores a checked entry.
func (s *Store) put(in contents, e Entry, given Secrets, now time.Time) (oneChange, error) {
	text, err := json.Marshal(bare(e))
	if err != nil {
		return oneChange{}, err
	}
	one := oneChange{kind: e.Kind(), id: e.ID(), document: &document{text, map[string]sealed{}}, verb: string(e.Kind()) + "-set", on: e.ID()}
	if old := in.found(e.Kind(), e.ID()); old != nil {
		for name, secret := range old.Secrets {
			one.document.Secrets[name] = secret
		}
	}
	for _, name := range secretsOf[e.Kind()] {
		secret, ok := given[name]
		if !ok {
			continue
		}
		one.on += " " + name
		if secret == "" {
			delete(one.document.Secrets, name)
		} else if one.document.Secrets[name], err = s.seal(e.Kind(), e.ID(), name, string(secret), now); err != nil {
			return oneChange{}, err
		}
	}
	return one, nil
}

// RotateApp sets a new app secret. The stored app secret becomes the previous one, which is accepted until a time (zero: until it
// is removed). Its error is as of Put, or ErrNotFound if no app secret is stored.
func (s *Store) RotateApp(ctx context.Context, name string, secret config.Secret, previousUntil time.Time, c Change) (int64, error) {
	in, err := s.load(ctx)
	if err != nil {
		return 0, err
	}
	old := in.found(KindApp, name)
	if old == nil || old.Secrets[SecretApp].Text == "" {
		return 0, fmt.Errorf("app %s: a stored app secret %w. Set the app with its current secret first", name, ErrNotFound)
	}
	was, err := s.o.Box.Decrypt(purpose(KindApp, name, SecretApp), old.Secrets[SecretApp].Text)
	if err != nil {
		return 0, err
	}
	return s.Put(ctx, App{Name: name, PreviousExpires: previousUntil}, Secrets{SecretApp: secret, SecretPreviousApp: config.Secret(was)}, c)
}

// Remove removes an app, an API key or a client, also one of the file: it stays hidden until Put stores it again. A client that
// numbers or keys belong to is not removed. Its error wraps ErrNotFound, or is an *InvalidError or a *ConflictError.
func (s *Store) Remove(ctx context.Context, kind Kind, id string, c Change) error {
	in, err := s.load(ctx)
	if err != nil {
		return err
	}
	all := s.o.File.merge(in)
	if !all.has(kind, id) {
		return fmt.Errorf("%s %s %w", kind, id, ErrNotFound)
	}
	if kind == KindClient {
		var own []string
		for _, e := range all.list() {
			if n, ok := e.(Number); ok && (n.Client == id || slices.Contains(n.SharedWith, id)) {
				own = append(own, "phone number id "+n.PhoneNumberID)
			}
			if k, ok := e.(APIKey); ok && k.Client == id {
				own = append(own, "API key "+k.Name)
			}
		}
		if len(own) > 0 {
			return &InvalidError{[]config.Mistake{{Place: "client " + id, Err: fmt.Errorf("%s still belongs to it: remove the client from it first", strings.Join(own, ", "))}}}
		}
	}
	_, err = s.apply(ctx, c, oneChange{kind: kind, id: id, expected: in.expected(kind, id, c.Revision), verb: string(kind) + "-remove", on: id})
	return err
}

// RemoveNumber removes a number, also one of the file: it stays hidden until Put stores it again. backlog is one of BacklogRefuse
// (also when empty), BacklogDrain, BacklogCancel and BacklogMove; to is the number that takes the messages, with BacklogMove only. It
// returns true if the number is removed now, and false if workers remove it when its last message is final. Its error wraps
// ErrNotFound, or is a *BacklogError, an *InvalidError or a *ConflictError.
func (s *Store) RemoveNumber(ctx context.Context, id, backlog, to string, c Change) (bool, error) {
	if !slices.Contains(Backlogs(), cmp.Or(backlog, BacklogRefuse)) {
		return false, &InvalidError{[]config.Mistake{{Place: "backlog", Err: fmt.Errorf("%q is none of %s", backlog, strings.Join(Backlogs(), ", "))}}}
	}
	if to != "" && backlog != BacklogMove {
		return false, &InvalidError{[]config.Mistake{{Place: "to", Err: fmt.Errorf("only backlog %s has a number that takes the messages: leave it out", BacklogMove)}}}
	}
	in, err := s.load(ctx)
	if err != nil {
		return false, err
	}
	all := s.o.File.merge(in)
	n, ok := all[KindNumber][id].(Number)
	if !ok {
		return false, fmt.Errorf("phone number id %s %w", id, ErrNotFound)
	}
	if other := all.takes(id); other != "" {
		return false, &InvalidError{[]config.Mistake{{Place: "phone_number_id", Err: fmt.Errorf("it takes the messages of phone number id %s: wait until workers have removed that number", other)}}}
	}
	if backlog == BacklogMove {
		if mistakes, err := s.mayMoveTo(ctx, all, n, to); err != nil {
			return false, err
		} else if len(mistakes) > 0 {
			return false, &InvalidError{mistakes}
		}
	}
	if backlog != "" && backlog != BacklogRefuse {
		n.Leaving, n.LeavingTo = backlog, to
		one, err := s.put(in, n, nil, time.Time{})
		if err != nil {
			return false, err
		}
		one.expected, one.verb = in.expected(KindNumber, id, c.Revision), "number-"+backlog
		changes := []oneChange{one}
		if backlog == BacklogMove {
			changes[0].on += " to " + to
			m := move{From: id, To: to}
			text, err := json.Marshal(m)
			if err != nil {
				return false, err
			}
			changes = append(changes, oneChange{kind: kindMove, id: m.ID(), expected: in.expected(kindMove, m.ID(), AnyRevision), document: &document{Entry: text}})
		}
		_, err = s.apply(ctx, c, changes...)
		return false, err
	}
	waiting, err := s.o.Unfinished(ctx, id)
	if err != nil {
		return false, err
	}
	if waiting > 0 {
		return false, &BacklogError{id, waiting}
	}
	err = s.Remove(ctx, KindNumber, id, c)
	return err == nil, err
}

// Reencrypt encrypts all stored secrets with the first key of the box, those of relay targets and suppression lists too, and returns how many. Then the second key can be
// removed. The Revision of c is ignored. If operators change entries at the same time, its error can be a *ConflictError: repeat it.
func (s *Store) Reencrypt(ctx context.Context, c Change) (int, error) {
	in, err := s.load(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	var changes []oneChange
	for _, kind := range kinds {
		for id, one := range in.entries[kind] {
			if len(one.Secrets) == 0 {
				continue
			}
			next := document{one.Entry, map[string]sealed{}}
			for name, old := range one.Secrets {
				secret, err := s.o.Box.Decrypt(purpose(kind, id, name), old.Text)
				if err != nil {
					return 0, fmt.Errorf("%s of %s %s: %w", name, kind, id, err)
				}
				again, err := s.seal(kind, id, name, secret, old.SetAt)
				if err != nil {
					return 0, err
				}
				next.Secrets[name] = again
				total++
			}
			changes = append(changes, oneChange{kind: kind, id: id, expected: one.revision, document: &next})
		}
	}
	if len(changes) > 0 {
		changes[0].verb, changes[0].on = message.VerbReencrypt, fmt.Sprintf("%d secrets of numbers and apps", total)
		if _, err = s.apply(ctx, c, changes...); err != nil {
			return 0, err
		}
	}
	for _, f := range s.reencrypt {
		more, err := f(ctx)
		if total += more; err != nil {
			return total, err
		}
	}
	return total, nil
}

// AlsoReencrypt lets Reencrypt call f, which encrypts secrets of another package again and returns how many. Call it before Reencrypt.
func (s *Store) AlsoReencrypt(f func(ctx context.Context) (int, error)) {
	s.reencrypt = append(s.reencrypt, f)
}
