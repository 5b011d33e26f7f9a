package app

import (
	"cmp"
	"context"
	"encoding/json"

	"sluice/internal/archive"
	"sluice/internal/config"
	"sluice/internal/console"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/prices"
	"sluice/internal/report"
	"sluice/internal/secrets"
	"sluice/internal/signature"
)

// archive adds the part that writes events to the archive, if there is one.
func (w *worker) archive(c config.Archive) error {
	if c.URL == "" {
		return nil
	}
	hash := secrets.Hasher(string(c.Key), archive.RecipientPurpose)
	a, err := archive.New(w.DB, archive.Options{
		URL: string(c.URL), Worker: w.name, Shards: w.shards, Retention: c.Retention, Hash: hash, Log: w.Log, Registerer: w.Registry,
		Message: func(marker string) string {
			id, _, _, _ := w.marks.Parse(marker)
			return id
		},
		Recipients: archiveRecipients(w.book, hash, signature.New(string(w.c.PayloadKey), string(w.c.SecondPayloadKey))),
	})
	if err != nil {
		return err
	}
	w.Background(a.Run)
	return nil
}

// archiveRecipients returns a function that reads the recipients of messages from their records. A record without an index of
// recipients has the recipient in its payload, until Meta's first status.
func archiveRecipients(book *ledger.Ledger, hash func(string) string, signer signature.Signer) func(context.Context, message.Shard, []string) (map[string]archive.Recipient, error) {
	return func(ctx context.Context, shard message.Shard, ids []string) (map[string]archive.Recipient, error) {
		found, _, err := book.ReadReadable(ctx, shard, ids)
		if err != nil {
			return nil, err
		}
		all := make(map[string]archive.Recipient, len(found))
		for _, r := range found {
			if r.Exists() {
				to := archive.Recipient{Hash: r.RecipientHash, Text: recipientIn(signer, r.ID, r.Payload)}
				if to.Hash == "" && to.Text != "" {
					to.Hash = archive.HashRecipient(hash, to.Text)
				}
				all[r.ID] = to
			}
		}
		return all, nil
	}
}

// recipientIn returns the recipient in the payload of a message; empty: there is no payload, or its signature is wrong.
func recipientIn(signer signature.Signer, id, payload string) string {
	object, err := signer.Verify(id, []byte(payload))
	if err != nil {
		return ""
	}
	var to struct{ To, Recipient string }
	json.Unmarshal(object, &to) // without a payload the recipient is not known
	return cmp.Or(to.To, to.Recipient)
}

// reports lets the console read the archive, if there is one.
func reports(o *console.Options, c config.Archive, table *prices.Table) (err error) {
	if c.URL != "" {
		o.Reports, err = report.Open(string(c.URL), table)
	}
	return err
}
