package app

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/admission"
	"sluice/internal/archive"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/pgtest"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
)

// A worker with the role archive archives a message that was accepted, with its recipient, although no status has come and the
// record has no hash of the recipient.
func TestArchiveRole(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	const number, key, to = "106540352242922", "0123456789abcdef", "+15551234567"
	c := config.Worker{
		Common: config.Common{
			Environment: "test", Redis: config.Redis{URL: config.Secret(redistest.Start(t).URL()), Durability: "relaxed"},
			Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}},
		},
		Roles: []string{config.RoleArchive}, MarkerKey: "0123456789abcdef", Tokens: &config.Tokens{},
		Archive: config.Archive{URL: config.Secret(pg.URL()), Key: key, Retention: 1000 * time.Hour},
	}
	p, err := NewWorker(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m := message.Message{
		ID: message.NewID(number, "k"), From: number, Class: message.Utility, Key: "k", ExpiresAt: time.Now().Add(time.Hour),
		Payload: []byte(`{"to":"` + to + `","type":"text","text":{"body":"hi"}}`), Content: message.Content{Type: "text", To: to},
	}
	if err := admission.NewLoader(p.DB, message.DefaultShards).Load(t.Context(), []message.Message{m}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	r, err := archive.NewRecipients(pg.URL(), secrets.Hasher(key, archive.RecipientPurpose))
	if err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "the recipient is in the archive", func() bool {
		found := false
		r.Export(t.Context(), to, func(e archive.Event) error { // fails until there is a table
			found = e.ID == m.ID && e.Region == "1555"
			return nil
		})
		return found
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
