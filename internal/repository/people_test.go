package repository

import (
	"context"
	"log/slog"
	"testing"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// noAccounts owns no number.
type noAccounts struct{}

func (noAccounts) All(context.Context) (map[string]string, error)        { return nil, nil }
func (noAccounts) Portfolios(context.Context) (map[string]string, error) { return nil, nil }

// TestOnePairLimit: messages to the phone number and to the user id of a person have one pair limit, and count once for a messaging limit. Without an index of recipients
// each has its own, groups have none, and without Redis each name counts alone.
func TestOnePairLimit(t *testing.T) {
	t.Parallel()
	const number, phone, user = "106540352242922", "+491701234567", "DE.1234567890"
	server := redistest.Start(t)
	db, err := store.New(t.Context(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	hash := secrets.Hasher("a key", "recipient index")
	known := people.New(db, people.Options{Hash: hash, Shards: 2, Owners: noAccounts{}})
	if err := known.Learn(t.Context(), []message.Identities{{Number: number, User: user, Phones: []string{phone[1:]}}}); err != nil {
		t.Fatal(err)
	}
	c := &Candidates{people: known, limited: func(string) bool { return true }, log: slog.New(slog.DiscardHandler)}
	to := func(recipient, own, indexed string) record.Record {
		r := record.Record{Recipient: own, RecipientHash: indexed, Payload: `MAC{"to":"` + recipient + `"}`}
		r.Template = "sale/en"
		r.From, r.To = number, message.Mask(recipient)
		return r
	}
	var counted []portfolio.Person
	of := func(all ...record.Record) []ratelimit.Recipient {
		out := make([]dispatch.Candidate, len(all))
		for i := range out {
			copy(out[i].Recipient[:], all[i].Recipient)
		}
		c.persons(t.Context(), all, out)
		found := make([]ratelimit.Recipient, len(all))
		counted = nil
		for i := range out {
			found[i], counted = out[i].Recipient, append(counted, out[i].Person)
		}
		return found
	}
	all := []record.Record{
		to(phone, "hash-one", hash(phone[1:])), to(user, "hash-two", hash(user)), to("DE.999", "hash-333", hash("DE.999")), to(user, "hash-two", ""), to("group", "", hash("group")),
	}
	got := of(all...)
	if got[0] != got[1] || got[0] == got[2] || got[0] == (ratelimit.Recipient{}) {
		t.Errorf("the phone number, the user id and another one are %x, %x and %x", got[0], got[1], got[2])
	}
	if string(got[3][:]) != "hash-two" || got[4] != (ratelimit.Recipient{}) {
		t.Errorf("without an index, and a group: %x, %x", got[3], got[4])
	}
	if counted[0] == (portfolio.Person{}) || counted[0] != counted[1] || counted[0] == counted[2] || counted[0] != counted[3] || counted[4] != (portfolio.Person{}) {
		t.Errorf("for a messaging limit: %x", counted)
	}
	server.Kill()
	if away := of(all...); away[0] != got[0] || away[1] == got[1] || away[1] == (ratelimit.Recipient{}) {
		t.Errorf("without Redis: %x", away)
	}
}
