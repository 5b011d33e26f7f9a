package directory

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/config"
)

// lists has the list of each kind in the configuration file.
var lists = map[Kind]string{KindNumber: "numbers", KindApp: "apps", KindKey: "api_keys", KindClient: "clients"}

// bare returns an entry as it is stored.
func bare(e Entry) Entry { return withState(e, State{}) }

// parse reads and checks an entry by the rules of the configuration file. The place of a mistake is the member.
func parse(e Entry, classes map[string]config.Class) (config.Entries, []config.Mistake) {
	if n, ok := e.(Number); ok {
		n.Leaving, n.LeavingTo, n.Left = "", "", 0
		e = n
	}
	list := lists[e.Kind()]
	text, err := json.Marshal(map[string][]Entry{list: {bare(e)}})
	if err != nil {
		return config.Entries{}, []config.Mistake{{Err: err}}
	}
	parsed, mistakes := config.ParseEntries("", text, classes)
	for i := range mistakes {
		mistakes[i].Place = strings.TrimPrefix(strings.TrimPrefix(mistakes[i].Place, list+"[0]"), ".")
	}
	return parsed, mistakes
}

// checkSecrets finds secrets that cannot be right.
func checkSecrets(kind Kind, given Secrets) (mistakes []config.Mistake) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		var err error
		switch secret := given[name]; {
		case !slices.Contains(secretsOf[kind], name):
			err = fmt.Errorf("a %s has no such secret: remove it", kind)
		case secret == "": // it is removed
		case name == SecretVerifyToken:
			err = cmp.Or(config.CheckSecret(secret), config.CheckVerifyToken(secret))
		default:
			err = config.CheckSecret(secret)
		}
		if err != nil {
			mistakes = append(mistakes, config.Mistake{Place: name, Err: err})
		}
	}
	return mistakes
}

// refer finds what is wrong between an entry and the others.
func (x index) refer(e Entry) (mistakes []config.Mistake) {
	wrong := func(place, format string, args ...any) {
		mistakes = append(mistakes, config.Mistake{Place: place, Err: fmt.Errorf(format, args...)})
	}
	client := func(name string) {
		if name != "" && !x.has(KindClient, name) {
			wrong("client", "client %s does not exist: add the client first", name)
		}
	}
	switch e := e.(type) {
	case Number:
		client(e.Client)
		for _, name := range e.SharedWith {
			if client(name); name == e.Client {
				wrong("shared_with", "the number belongs to client %s: remove it from the list", name)
			}
		}
		if r := e.AutoReply; r != nil && !x.has(KindKey, r.APIKey) {
			wrong("auto_reply.api_key", "API key %s does not exist: add the API key first", r.APIKey)
		}
	case APIKey:
		client(e.Client)
		for _, id := range e.Numbers {
			n, known := x[KindNumber][id].(Number)
			switch {
			case id == "*":
			case !known:
				wrong("phone_number_ids", "phone number id %s is not configured: add the number first", id)
			case e.Client != "" && n.Client != e.Client && !slices.Contains(n.SharedWith, e.Client):
				wrong("phone_number_ids", "phone number id %s does not belong to the client %s of the key: remove it, let the number belong to the client, or share the number with it", id, e.Client)
			}
		}
		for name, other := range x[KindKey] {
			if k, _ := other.(APIKey); name != e.Name && strings.EqualFold(k.SHA256, e.SHA256) {
				wrong("sha256", "the API key %s has the same key: make another one", name)
			}
		}
	}
	return mistakes
}

// index is entries by kind and id.
type index map[Kind]map[string]Entry

func (x index) put(e Entry) {
	if x[e.Kind()] == nil {
		x[e.Kind()] = map[string]Entry{}
	}
	x[e.Kind()][e.ID()] = e
}

func (x index) has(kind Kind, id string) bool { return x[kind][id] != nil }

// list returns all entries, by kind and id.
func (x index) list() (list []Entry) {
	for _, kind := range kinds {
		for _, id := range slices.Sorted(maps.Keys(x[kind])) {
			list = append(list, x[kind][id])
		}
	}
	return list
}

// entries returns all entries, each list by id.
func (x index) entries() (all Entries) {
	for _, e := range x.list() {
		all.Revision = max(all.Revision, e.state().Revision)
		switch e := e.(type) {
		case Number:
			all.Numbers = append(all.Numbers, e)
		case App:
			all.Apps = append(all.Apps, e)
		case APIKey:
			all.APIKeys = append(all.APIKeys, e)
		case Client:
			all.Clients = append(all.Clients, e)
		}
	}
	return all
}

// decode reads the entry of a document.
func decode(kind Kind, d document) (Entry, error) {
	switch kind {
	case KindNumber:
		var n Number
		return n, json.Unmarshal(d.Entry, &n)
	case KindApp:
		var a App
		return a, json.Unmarshal(d.Entry, &a)
	case KindKey:
		var k APIKey
		return k, json.Unmarshal(d.Entry, &k)
	case KindClient:
		var c Client
		return c, json.Unmarshal(d.Entry, &c)
	case kindMove:
		var m move
		return m, json.Unmarshal(d.Entry, &m)
	}
	return nil, errors.New("unknown kind")
}

// withState returns an entry with another state.
func withState(e Entry, s State) Entry {
	switch e := e.(type) {
	case Number:
		e.State = s
		return e
	case App:
		e.State = s
		return e
	case APIKey:
		e.State = s
		return e
	case Client:
		e.State = s
		return e
	case move:
		e.State = s
		return e
	}
	return e
}

// indexOf returns entries of the configuration, as they are stored.
func indexOf(c config.Entries) index {
	x := index{}
	for _, n := range c.Numbers {
		x.put(numberOf(n))
	}
	for _, a := range c.Apps {
		x.put(App{Name: a.Name, PreviousExpires: a.PreviousExpires})
	}
	for _, k := range c.APIKeys {
		one := APIKey{Name: k.Name, SHA256: hex.EncodeToString(k.SHA256[:]), Numbers: k.Numbers, Scopes: k.Scopes, Revoked: k.Revoked, Expires: k.Expires, Client: k.Client, Account: k.MessagingAccount, PreviousExpires: k.PreviousExpires}
		if k.PreviousSHA256 != [32]byte{} {
			one.PreviousSHA256 = hex.EncodeToString(k.PreviousSHA256[:])
		}
		x.put(one)
	}
	for _, c := range c.Clients {
		one := Client{Name: c.Name, Note: c.Note, Weight: c.Weight, Campaigns: c.Campaigns, Suppress: c.Suppress, Quiet: c.Quiet, Caps: c.Caps}
		if c.Quotas.Quota != (config.Quota{}) || c.Quotas.Classes != nil {
			one.Quotas = &c.Quotas
		}
		if c.Budgets != (config.Budgets{}) {
			one.Budgets = &c.Budgets
		}
		x.put(one)
	}
	return x
}

func numberOf(c config.Number) Number {
	n := Number{PhoneNumberID: c.ID, Display: c.Display, TokenFile: c.TokenFile, RateLimit: c.Rate, UnknownTypes: c.Unknown, OtherApp: c.Other, Window: c.Window, Account: c.MessagingAccount, Client: c.Client, SharedWith: c.Shared, Suppress: c.Suppress, Quiet: c.Quiet, AutoReply: c.AutoReply, Marketing: c.Marketing, Sharing: c.Sharing, GraphVersion: c.Versions.Version}
	if c.Versions.Canary != "" {
		n.GraphCanary = &GraphCanary{c.Versions.Canary, c.Versions.Share}
	}
	if c.Learn {
		n.RateLimit = 0
	}
	for _, t := range c.TemplateClasses {
		n.TemplateClasses = append(n.TemplateClasses, TemplateClass(t))
	}
	for name, class := range c.Classes {
		if n.Classes == nil {
			n.Classes = map[string]Class{}
		}
		n.Classes[name] = Class{
			Deadline: text(class.Deadline), InDoubtWindow: text(class.InDoubtWindow), InDoubtPolicy: class.InDoubtPolicy,
			ServerErrorWindow: text(class.ErrorWindow), WebhookRetryWindow: text(class.RepeatWindow), PortfolioLimit: class.PortfolioLimit,
		}
	}
	return n
}

// text returns a time as the configuration file has it; empty: zero.
func text(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// entries returns the entries of the file. Its token files stay out: a stored entry without a token of its own uses the token of the
// file.
func (f File) entries() index {
	x := indexOf(config.Entries{Numbers: f.Numbers, Apps: f.Apps, APIKeys: f.APIKeys, Clients: f.Clients})
	for _, e := range x.list() {
		if n, ok := e.(Number); ok {
			n.TokenFile = ""
			e = n
		}
		x.put(withState(e, State{Source: SourceFile}))
	}
	return x
}

// merge returns the entries of the file with what is stored in their place.
func (f File) merge(c contents) index {
	x := f.entries()
	for _, kind := range kinds {
		for id, one := range c.entries[kind] {
			if one.removed {
				delete(x[kind], id)
				continue
			}
			s := State{Source: SourceStored, Revision: one.revision, UpdatedAt: time.UnixMicro(one.revision).UTC().Truncate(time.Second)}
			if len(one.Secrets) > 0 {
				s.Secrets = map[string]SecretInfo{}
			}
			for name, secret := range one.Secrets {
				s.Secrets[name] = secret.SecretInfo
			}
			x.put(withState(one.entry, s))
		}
	}
	return x
}
