package suppression_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/suppression"
)

// add adds a person to the list of a client.
func (f *fixture) add(client, to string, source message.SuppressionSource) {
	f.t.Helper()
	if _, err := f.Add(f.t.Context(), client, []message.SuppressionOrder{{Recipient: to, Source: source, Reason: "asked " + to, By: "crm"}}); err != nil {
		f.t.Fatal(err)
	}
}

// exported returns the whole recipients of a list.
func (f *fixture) exported(client string) (all []string) {
	f.t.Helper()
	entries, _, err := f.Page(f.t.Context(), client, "", 100, true)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Recipient)
	}
	return all
}

// TestKeys: Redis has no recipient that can be read. Without a key nothing is stored.
func TestKeys(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.wrote(own, "stop", 0, both)
	for _, name := range f.db.Keys(t.Context(), "*").Val() {
		if text := fmt.Sprint(f.db.Dump(t.Context(), name).Val(), name); strings.Contains(text, phone) || strings.Contains(text, user) {
			t.Errorf("%s has a recipient", name)
		}
	}
	f.Store = f.process("", "")
	f.wrote(own, "start", 1, both)
	if _, err := f.Add(t.Context(), "", nil); !errors.Is(err, suppression.ErrNoKey) {
		t.Error(err)
	}
}

// TestChangeOfKey: while the secrets key changes, entries of both keys count. After Reencrypt all entries count with the new key alone, and
// can be exported with it.
func TestChangeOfKey(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const shy, later, old = "DE.shy", "4915198765432", "4915112345678"
	f.wrote(number, "hi", 0, message.Identities{User: shy}) // so the person's name is the user id, also when the phone number is known
	f.wrote(number, "stop", 1, message.Identities{User: shy, Phones: []string{later}})
	f.wrote(number, "stop", 1, both)
	f.wrote(number, "start", 2, both) // an entry that must outlive a stop word that Meta repeats
	f.add("acme", "+"+old, message.SuppressedByImport)

	f.Store = f.process("another key", "the key")
	if !f.suppresses("acme", number, "+"+old, message.Marketing) {
		t.Error("an entry of the second key does not count")
	}
	if all := f.exported("acme"); len(all) != 2 {
		t.Errorf("exported with both keys: %q", all)
	}
	if n, err := f.Reencrypt(t.Context()); n != 5 || err != nil { // globex has two of them too
		t.Errorf("%d entries, %v", n, err)
	}
	if n, err := f.Reencrypt(t.Context()); n != 0 || err != nil {
		t.Errorf("again %d entries, %v", n, err)
	}

	f.Store = f.process("another key", "")
	for to, want := range map[string]bool{"+" + old: true, "+" + later: true, "+" + phone: false} {
		if got := f.suppresses("acme", number, to, message.Marketing); got != want {
			t.Errorf("with the new key alone %s is suppressed: %t", to, got)
		}
	}
	if all := f.exported("acme"); len(all) != 2 || all[0] != "+"+old || all[1] != "+"+later {
		t.Errorf("exported with the new key alone: %q", all)
	}
	f.wrote(number, "stop", 1, both)
	if f.suppresses("acme", number, "+"+phone, message.Marketing) {
		t.Error("a stop word that Meta repeats undoes a start word")
	}
	one, err := f.Get(t.Context(), "acme", "+"+old)
	if err != nil || one.Reason != "asked +"+old || one.By != "crm" {
		t.Errorf("%+v, %v", one, err)
	}
	f.Store = f.process("a third key", "")
	if _, err := f.Reencrypt(t.Context()); err == nil {
		t.Error("entries that no key decrypts are not reported")
	}
}

// TestForgetPerson: after a request to delete a person, the lists have no recipient and no reason, and the person stays suppressed.
func TestForgetPerson(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add("acme", "+"+phone, message.SuppressedByAPI)
	f.add("globex", "+"+phone, message.SuppressedByAPI)
	f.add("acme", "+"+moved, message.SuppressedByAPI)
	id := f.people.Identity("+" + phone).Hash
	names := []string{string(id[:]), "no entry"}
	if all, err := f.OfPerson(t.Context(), names); err != nil || len(all) != 2 || all[0].Client != "acme" || all[1].Client != "globex" {
		t.Errorf("entries of the person: %+v, %v", all, err)
	}
	if n, err := f.ForgetPerson(t.Context(), names); n != 2 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	if n, err := f.ForgetPerson(t.Context(), names); n != 0 || err != nil {
		t.Errorf("again %d entries, %v", n, err)
	}
	one, err := f.Get(t.Context(), "acme", "+"+phone)
	if err != nil || one == nil || one.Reason != "" || one.Recipient != "***" || one.By != "crm" || one.Source != message.SuppressedByAPI {
		t.Errorf("%+v, %v", one, err)
	}
	f.wrote(number, "hi", 1, both) // names that Meta reports later join the entry, and do not bring the recipient back
	f.wrote(number, "hi", 2, message.Identities{User: user, Phones: []string{"4915100000001"}, FormerPhone: phone, Change: "wamid.change"})
	if !f.suppresses("acme", number, user, message.Marketing) {
		t.Error("the person is not suppressed any more")
	}
	if all := f.exported("acme"); len(all) != 2 || all[0] != "+"+moved || all[1] != "***" {
		t.Errorf("exported: %q", all)
	}
}

// TestNewRecipient: after a change of the phone number, the list has the new one.
func TestNewRecipient(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.wrote(own, "stop", 0, both)
	f.wrote(own, "hi", 1, message.Identities{User: user, Phones: []string{moved}, FormerPhone: phone, Change: "wamid.change"})
	one, err := f.Get(t.Context(), "", "+"+moved)
	if all := f.exported(""); err != nil || one == nil || one.Source != message.SuppressedByWord || !one.At.Equal(f.at) || len(all) != 1 || all[0] != "+"+moved {
		t.Errorf("%q, %+v, %v", all, one, err)
	}
}

// TestEvents: each change of whether a person opted out is published for each client, and nothing else.
func TestEvents(t *testing.T) {
	t.Parallel()
	f := setup(t)
	expect := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, e := range f.events {
			o := e.OptOut
			got = append(got, fmt.Sprint(o.Change, " ", o.Client, " ", o.Source, o.Key))
			if e.Type != message.EventSuppression || e.Number != number || o.Recipient != message.Mask("+"+phone) || o.Since.IsZero() {
				t.Errorf("%s: %+v %+v", what, e, *o)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: events %q, want %q", what, got, want)
		}
		f.events = nil
	}
	f.wrote(number, "hello", 0, both)
	f.wrote(number, "start", 1, both)
	expect("no person opted out")
	f.wrote(number, "stop", 2, both)
	expect("a stop word", "opted_out acme keyword", "opted_out globex keyword")
	f.wrote(number, "stop", 2, both)
	f.wrote(number, "start", 1, both)
	f.wrote(number, "stop", 3, both)
	expect("repeated, late, and said again")
	f.add("acme", "+"+phone, message.SuppressedByAPI)
	expect("the person is in the list")
	all := []message.SuppressionOrder{{Recipient: user, Source: message.SuppressedByAPI, By: "crm"}}
	if _, err := f.Remove(t.Context(), "acme", all); err != nil {
		t.Fatal(err)
	}
	if len(f.events) != 1 || f.events[0].OptOut.Recipient != message.Mask(user) {
		t.Errorf("%+v", f.events)
	} else {
		f.events[0].OptOut.Recipient = message.Mask("+" + phone)
	}
	expect("a request with the user id", "opted_in acme apicrm")
	f.add("acme", "+"+phone, message.SuppressedByImport)
	expect("an import")
	// Two changes of a batch: the second one follows the first.
	at := time.Now().Add(time.Hour)
	prefer := func(stop bool, after time.Duration) message.Preference {
		who := message.Identities{Number: number, User: user, Phones: []string{phone}}
		return message.Preference{Who: who, Source: message.SuppressedByPreference, Stop: stop, At: at.Add(after)}
	}
	if err := f.Note(t.Context(), []message.Preference{prefer(false, 0), prefer(true, time.Minute), prefer(true, time.Minute)}); err != nil {
		t.Fatal(err)
	}
	expect("two in a batch", "opted_in acme user_preferences", "opted_in globex user_preferences", "opted_out acme user_preferences", "opted_out globex user_preferences")
}

// TestNoEventIsLost: a change whose event cannot be published is not stored, so that it is made again.
func TestNoEventIsLost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := suppression.New(f.db, suppression.Options{
		Hash: func(string) string { return "8 bytes." }, People: f.people,
		Clients: func(string) []string { return []string{""} }, Numbers: func(string) []string { return nil },
		Publish: func(context.Context, []message.Event) error { cancel(); return context.Canceled },
	})
	all := []message.Preference{{Who: message.Identities{Number: own, Phones: []string{phone}}, Source: message.SuppressedByError, Stop: true, At: f.at}}
	if err := s.Note(ctx, all); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n, err := f.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d people, %v", n, err)
	}
}

// TestCategory: Meta's category of a template counts, whatever class the request has. A message is not allowed if it cannot be read who
// opted out.
func TestCategory(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.wrote(number, "stop", 0, both)
	for _, c := range []struct {
		template, to string
		class        message.Class
		want         bool
	}{
		{"sale/en", "+" + phone, message.Utility, false},
		{"sale/en", "+" + phone, message.Authentication, false},
		{"sale/de", "+" + phone, message.Utility, true}, // its category is not known
		{"sale/de", "+" + phone, message.Marketing, false},
		{"", "+" + phone, message.Service, true},
		{"sale/en", "+" + moved, message.Utility, true},
		{"sale/en", "", message.Utility, true}, // a group
	} {
		m := message.Context{Client: "acme", From: number, Class: c.class, Template: c.template}
		if err := f.Allows(t.Context(), m, c.to); (err == nil) != c.want || err != nil && err != message.ErrOptedOut {
			t.Errorf("%s of class %s: %v", c.template, c.class, err)
		}
		content := message.Content{To: c.to, Template: "sale", Language: strings.TrimPrefix(c.template, "sale/")}
		if c.template == "" {
			content = message.Content{To: c.to}
		}
		found, err := f.Check(t.Context(), []*message.Message{{Client: "acme", From: number, Class: c.class, Content: content}})
		if refused := found != nil && found[0] != nil; refused == c.want || err != nil {
			t.Errorf("%s of class %s is refused: %t, %v", c.template, c.class, refused, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Allows(ctx, message.Context{Client: "acme", From: number, Class: message.Marketing}, moved); !errors.Is(err, message.ErrOptedOut) {
		t.Error(err)
	}
}

// TestCluster: the lists of clients are in different slots of a Redis Cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	poll.Until(t, "a cluster", func() bool { return c.Set(t.Context(), "probe", 1, 0).Err() == nil })
	f := setupOn(t, c)
	f.wrote(number, "stop", 0, both)
	f.wrote(own, "stop", 0, both)
	f.add("globex", "+"+moved, message.SuppressedByImport)
	for client, from := range map[string]string{"acme": number, "globex": number, "": own} {
		if !f.suppresses(client, from, "+"+phone, message.Marketing) {
			t.Errorf("the person is not in the list of %q", client)
		}
	}
	if n, err := f.Count(t.Context()); n != 4 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	f.Store = f.process("another key", "the key")
	if n, err := f.Reencrypt(t.Context()); n != 4 || err != nil {
		t.Errorf("%d entries encrypted, %v", n, err)
	}
	id := f.people.Identity("+" + phone).Hash
	if n, err := f.ForgetPerson(t.Context(), []string{string(id[:])}); n != 3 || err != nil {
		t.Errorf("%d entries forgotten, %v", n, err)
	}
}

// TestFullRedis: a full Redis stores who opted out, because the statuses that let its backlog drain come after that.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	c := redistest.Start(t).Client()
	f := setupOn(t, c)
	if err := c.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	all := []message.Preference{{Who: message.Identities{Number: own, Phones: []string{phone}}, Source: message.SuppressedByError, Stop: true, At: f.at}}
	if err := f.Note(t.Context(), all); err != nil || !f.suppresses("", own, "+"+phone, message.Marketing) {
		t.Errorf("the person is not suppressed, %v", err)
	}
}
