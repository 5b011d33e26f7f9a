package app

import (
	"context"
	"strings"

	"sluice/internal/events"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/relay"
	"sluice/internal/signature"
)

// relay adds the part that forwards events to relay targets. It is work: at a stop its running requests end first.
func (w *worker) relay() {
	tail := events.NewTail(w.stream)
	r := relay.New(w.DB, relay.Options{
		Worker: w.name, Shards: w.shards, Tail: tail, Mark: w.marks.Parse, Accounts: events.NewAccounts(holds.NewAccounts(w.DB).All),
		Targets:      relay.NewTargets(w.DB, w.shards, w.box),
		Records:      relayRecords(w.book, signature.New(string(w.c.PayloadKey), string(w.c.SecondPayloadKey))),
		Display:      func(number string) string { return strings.TrimPrefix(w.directory.Display(number), "+") },
		Clients:      w.directory.NumbersOf,
		PrivateHosts: w.c.Relay.PrivateHosts, Registerer: w.Registry, Log: w.Log,
	})
	w.Background(tail.Run)
	w.Work(r.Run)
}

// relayRecords returns a function that reads what the relay needs of records. A record that cannot be read is left out.
func relayRecords(book *ledger.Ledger, signer signature.Signer) relay.Records {
	return func(ctx context.Context, shard message.Shard, ids []string) (map[string]relay.Record, error) {
		found, _, err := book.ReadReadable(ctx, shard, ids)
		if err != nil {
			return nil, err
		}
		all := make(map[string]relay.Record, len(found))
		for _, r := range found {
			if !r.Exists() {
				continue
			}
			all[r.ID] = relay.Record{Context: r.Context, Accepted: r.Incarnation(), Recipient: recipientIn(signer, r.ID, r.Payload)}
		}
		return all, nil
	}
}
