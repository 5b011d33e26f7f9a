package directory_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sluice/internal/directory"
)

// TestUnchangedEntriesAreNotReadAgain: a process reads only what changed. An app whose secrets it cannot decrypt is logged once, and not
// again when another entry changes.
func TestUnchangedEntriesAreNotReadAgain(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	in.put(s, directory.App{Name: "shop"}, directory.Secrets{directory.SecretApp: token, directory.SecretVerifyToken: token + token}, 0)
	d := in.process(in.store(newKey))
	in.put(s, directory.Client{Name: "acme", Weight: 2}, nil, 0)
	if err := d.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(in.log.String(), "cannot decrypt a stored secret"); n != 2 {
		t.Errorf("%d secrets of the app were decrypted, want its two once", n)
	}
}

// BenchmarkReload is what a process does when one client of 1,000 changes, each of which has two numbers and an API key.
func BenchmarkReload(b *testing.B) {
	in := setup(b)
	s := in.store()
	var text strings.Builder
	text.WriteString(`{"clients":[{"name":"other"}`)
	for i := range 1000 {
		fmt.Fprintf(&text, `,{"name":"client-%d"}`, i)
	}
	text.WriteString(`],"numbers":[{"phone_number_id":"9"}`)
	for i := range 2000 {
		fmt.Fprintf(&text, `,{"phone_number_id":"%d","client":"client-%d"}`, 1000+i, i/2)
	}
	text.WriteString(`],"api_keys":[{"name":"other","scopes":["messages:read"],"phone_number_ids":["*"],"sha256":"` + strings.Repeat("f", 64) + `"}`)
	for i := range 1000 {
		fmt.Fprintf(&text, `,{"name":"key-%d","client":"client-%d","sha256":"%064x","scopes":["messages:send"],"phone_number_ids":["*"]}`, i, i, i+1)
	}
	text.WriteString(`]}`)
	if _, err := s.Import(b.Context(), "numbers.yaml", []byte(text.String()), change); err != nil {
		b.Fatal(err)
	}
	d := directory.New(s, slog.New(slog.DiscardHandler), directory.KindNumber, directory.KindApp)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		if _, err := s.Put(b.Context(), directory.Client{Name: "other", Weight: 1 + i%2}, nil, change); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := d.Load(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
