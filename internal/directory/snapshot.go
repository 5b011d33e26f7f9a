package directory

import (
	"maps"
	"slices"
	"time"

	"sluice/internal/config"
)

// snapshot is what is known at a moment. It does not change.
type snapshot struct {
	revision string
	ids      []string
	numbers  map[string]*number
	apps     map[string]config.App
	keys     []config.APIKey
	clients  map[string]config.Client
	moved    map[string][]string // for each number, those whose messages were moved to it
	of       map[string][]string // by client: the numbers that it may send from, in the order of ids
}

// number is a number of a snapshot.
type number struct {
	config.Number
	revision  int64  // of the stored entry; 0: it is of the file
	leaving   string // BacklogDrain, BacklogMove, BacklogCancel or empty
	leavingTo string // with BacklogMove
	token     string // the stored access token; empty: none
	tokenErr  error  // why the stored access token cannot be used; nil: it can, or there is none
	tokens    *config.Tokens
}

func (n *number) hasToken() bool { return n.token != "" || n.tokenErr == nil && n.tokens.Has(n.ID) }

// snapshot returns the entries of the file with what is stored in their place. Numbers that did not change since old are taken
// from it.
func (d *Directory) snapshot(c contents, old *snapshot) *snapshot {
	f := d.store.o.File
	next := &snapshot{revision: c.revision, numbers: map[string]*number{}, apps: map[string]config.App{}, clients: map[string]config.Client{}, moved: c.movedTo(time.Now()), of: map[string][]string{}}
	for _, id := range c.unread {
		d.log.Error("cannot read a stored entry, it is not used", "entry", id)
	}
	for _, n := range f.Numbers {
		if _, is := c.entries[KindNumber][n.ID]; !is {
			next.numbers[n.ID] = &number{Number: n, tokens: f.Tokens}
		}
	}
	for _, a := range f.Apps {
		if _, is := c.entries[KindApp][a.Name]; !is {
			next.apps[a.Name] = a
		}
	}
	for _, k := range f.APIKeys {
		if _, is := c.entries[KindKey][k.Name]; !is {
			next.keys = append(next.keys, k)
		}
	}
	for _, one := range f.Clients {
		if _, is := c.entries[KindClient][one.Name]; !is {
			next.clients[one.Name] = one
		}
	}
	for _, kind := range kinds {
		entries := c.entries[kind]
		for _, id := range slices.Sorted(maps.Keys(entries)) {
			one := entries[id]
			if one.removed {
				continue
			}
			if was := old.numbers[id]; kind == KindNumber && was != nil && was.revision == one.revision {
				next.numbers[id] = was
				continue
			}
			if one.read == nil {
				one.read = &reading{}
				if one.read.parsed, one.read.mistakes = parse(one.entry, f.Classes); len(one.read.mistakes) == 0 {
					one.read.secrets = d.open(kind, id, one.document)
				}
				entries[id] = one
			}
			parsed, secrets := one.read.parsed, one.read.secrets
			if len(one.read.mistakes) > 0 {
				d.log.Error("a stored entry is invalid, it is not used", "entry", string(kind)+" "+id, "err", &InvalidError{one.read.mistakes})
				continue
			}
			switch kind {
			case KindNumber:
				next.numbers[id] = f.number(parsed.Numbers[0], one, secrets)
			case KindApp:
				if a := f.app(parsed.Apps[0], secrets); a.Secret != "" && a.VerifyToken != "" {
					next.apps[id] = a
				} else if slices.Contains(d.uses, kind) {
					d.log.Error("an app has no app secret or no verify token, its webhooks are refused", "app", id)
				}
			case KindKey:
				next.keys = append(next.keys, parsed.APIKeys[0])
			case KindClient:
				next.clients[id] = parsed.Clients[0]
			}
		}
	}
	next.order(f)
	return next
}

// order lists the numbers, all and by client, and limits the keys of clients to their numbers.
func (next *snapshot) order(f File) {
	rest := maps.Clone(next.numbers)
	for _, n := range f.Numbers {
		if rest[n.ID] != nil {
			next.ids = append(next.ids, n.ID)
			delete(rest, n.ID)
		}
	}
	next.ids = append(next.ids, slices.Sorted(maps.Keys(rest))...)
	for _, id := range next.ids {
		n := next.numbers[id]
		next.of[n.Client] = append(next.of[n.Client], id)
		for _, client := range n.Shared {
			if client != n.Client {
				next.of[client] = append(next.of[client], id)
			}
		}
	}
	for i, k := range next.keys {
		if k.Client == "" {
			continue
		}
		next.keys[i].Numbers = slices.DeleteFunc(slices.Clone(next.of[k.Client]), func(id string) bool {
			return !slices.Contains(k.Numbers, "*") && !slices.Contains(k.Numbers, id)
		})
	}
}

// number returns a stored number. Without a token of its own it has the token of the file.
func (f File) number(n config.Number, one stored, secrets map[string]opened) *number {
	token := secrets[SecretAccessToken]
	out := &number{Number: n, revision: one.revision, token: string(token.secret), tokenErr: token.err, tokens: f.Tokens}
	out.AutoReply = f.autoReply(n, secrets)
	if e, ok := one.entry.(Number); ok {
		out.leaving, out.leavingTo = e.Leaving, e.LeavingTo
	}
	if token.secret == "" && token.err == nil && n.TokenFile != "" {
		out.tokens = config.TokenOf(n.ID, n.TokenFile, f.Tokens)
	}
	return out
}

// autoReply returns the automatic replies of a stored number. Without a secret of its own, its hook has that of the file. A hook whose secret
// cannot be decrypted is not used: its requests would not be signed.
func (f File) autoReply(n config.Number, secrets map[string]opened) *config.AutoReply {
	if n.AutoReply == nil || n.AutoReply.Hook == nil {
		return n.AutoReply
	}
	all, hook := *n.AutoReply, *n.AutoReply.Hook
	all.Hook = &hook
	secret, stored := secrets[SecretReplyHook]
	switch i := slices.IndexFunc(f.Numbers, func(of config.Number) bool { return of.ID == n.ID }); {
	case secret.err != nil:
		all.Hook = nil
	case stored:
		hook.Secret = secret.secret
	case i >= 0 && f.Numbers[i].AutoReply != nil && f.Numbers[i].AutoReply.Hook != nil:
		hook.Secret = f.Numbers[i].AutoReply.Hook.Secret
	}
	return &all
}

// app returns a stored app. A secret that is not stored is that of the file.
func (f File) app(a config.App, secrets map[string]opened) config.App {
	var of config.App
	if i := slices.IndexFunc(f.Apps, func(of config.App) bool { return of.Name == a.Name }); i >= 0 {
		of = f.Apps[i]
	}
	pick := func(name string, file config.Secret) config.Secret {
		if one, is := secrets[name]; is {
			return one.secret // empty if it cannot be decrypted: another one must not take its place
		}
		return file
	}
	a.Secret, a.PreviousSecret, a.VerifyToken = pick(SecretApp, of.Secret), pick(SecretPreviousApp, of.PreviousSecret), pick(SecretVerifyToken, of.VerifyToken)
	return a
}

// since returns how the numbers differ from those of an older snapshot.
func (next *snapshot) since(old *snapshot) (c Changes) {
	for _, id := range next.ids {
		switch was := old.numbers[id]; {
		case was == nil:
			c.Added = append(c.Added, id)
		case was.revision != next.numbers[id].revision:
			c.Changed = append(c.Changed, id)
		}
	}
	for _, id := range old.ids {
		if next.numbers[id] == nil {
			c.Removed = append(c.Removed, id)
		}
	}
	return c
}
