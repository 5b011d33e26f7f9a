package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/internal/directory"
)

// The commands about the entries of the directory: numbers, apps, API keys and clients. A set reads the entry, changes what its flags
// name, and sends it back with its revision: if another operator changed it meanwhile, the console refuses.

// secretArg is a file with a secret, or - for standard input. A secret is never an argument: other users of the machine see these.
type secretArg string

func (f secretArg) read() (string, error) {
	if f == "" {
		return "", nil
	}
	var text []byte
	var err error
	if f == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(string(f))
	}
	secret := strings.TrimSpace(string(text))
	if err == nil && secret == "" {
		err = fmt.Errorf("%s is empty: it must have the secret", f)
	}
	return secret, err
}

// kind is where the console has the entries of a kind.
type kind struct{ path, list, id, one string }

var (
	kindNumber = kind{"/v1/numbers", "numbers", "phone_number_id", "number"}
	kindApp    = kind{"/v1/apps", "apps", "name", "app"}
	kindKey    = kind{"/v1/api-keys", "api_keys", "name", "API key"}
	kindClient = kind{"/v1/clients", "clients", "name", "client"}
)

// read returns an entry as the console lists it.
func (k kind) read(ctx context.Context, f consoleFlags, id string) (map[string]any, error) {
	var answer map[string]json.RawMessage
	if err := once(f.Console, f.APIKey).Call(ctx, "GET", query(k.path, k.id, &id), nil, &answer); err != nil {
		return nil, err
	}
	var found []map[string]any
	numbers := json.NewDecoder(bytes.NewReader(answer[k.list]))
	numbers.UseNumber() // a revision must not be rounded
	if err := numbers.Decode(&found); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no %s %s. Use `add` to add it", k.one, id)
	}
	return found[0], nil
}

// members are flags that change members of an entry: those that were given.
type members interface {
	members() (map[string]any, error)
}

// put adds an entry, or changes the one that is there.
func (k kind) put(ctx context.Context, f consoleFlags, s signature, id string, add bool, flags members) error {
	entry := map[string]any{k.id: id}
	if !add {
		var err error
		if entry, err = k.read(ctx, f, id); err != nil {
			return err
		}
	}
	given, err := flags.members()
	if err != nil {
		return err
	}
	for name, value := range given {
		entry[name] = value
	}
	return f.ask(ctx, "POST", k.path, s.order(entry), showStored)
}

// order sends an order about an entry.
func (k kind) order(ctx context.Context, f consoleFlags, s signature, id, verb string, body map[string]any, show func(table, json.RawMessage) error) error {
	return f.ask(ctx, "POST", k.path+"/"+url.PathEscape(id)+"/"+verb, s.order(body), show)
}

// showStored shows the answer to a change.
var showStored = read(func(t table, a struct {
	Revision int64
	Key      string
},
) {
	if a.Key != "" {
		t.row("key:", a.Key)
		t.row("Give it to the caller now: it cannot be read again.")
	}
	t.row(fmt.Sprintf("Stored as revision %d. All programs follow within two seconds.", a.Revision))
})

// showRemoved shows the answer to a removal.
var showRemoved = read(func(t table, a struct{ Removed bool }) {
	if a.Removed {
		t.row("Removed. All programs follow within two seconds.")
		return
	}
	t.row("The number accepts no new messages. Workers remove it when its last message is final.")
})

// fingerprints shows the stored secrets of an entry.
func fingerprints(s directory.State) string {
	var all []string
	for name, info := range s.Secrets {
		all = append(all, fmt.Sprintf("%s %s (%s)", name, info.Fingerprint, clock(info.SetAt, "-")))
	}
	slices.Sort(all)
	return orDash(strings.Join(all, ", "))
}

// source shows where an entry comes from.
func source(s directory.State) string {
	if s.Source == directory.SourceStored {
		return fmt.Sprintf("stored, revision %d", s.Revision)
	}
	return s.Source
}

// short is the beginning of a hash, enough to compare it.
func short(hash string) string { return hash[:min(8, len(hash))] }

// directoryCmd has the commands about all entries.
type directoryCmd struct {
	Export    exportCmd    `cmd:"" help:"Print the stored numbers, apps, API keys and clients as YAML, in the form of the configuration file, without secrets."`
	Import    importDirCmd `cmd:"" help:"Store the entries of a YAML file in the form of the configuration file: all of them, or none if one is not valid. Other stored entries stay, and so do stored secrets."`
	Reencrypt reencryptCmd `cmd:"" help:"Encrypt all stored secrets, the entries of suppression lists and the schedules, with the first secrets key. After that the second key can be removed."`
}

type exportCmd struct{ consoleFlags }

// Run prints the document.
func (e exportCmd) Run(ctx context.Context) error {
	return e.ask(ctx, "GET", "/v1/directory/export", nil, read(func(t table, a struct{ Document string }) { io.WriteString(t, a.Document) }))
}

type importDirCmd struct {
	File string `arg:"" help:"The YAML file, or - for standard input." placeholder:"FILE"`
	signature
	consoleFlags
}

// Run imports the file.
func (i importDirCmd) Run(ctx context.Context) error {
	var text []byte
	var err error
	if i.File == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(i.File)
	}
	if err != nil {
		return err
	}
	return i.ask(ctx, "POST", "/v1/directory/import", i.order(map[string]any{"document": string(text)}), read(func(t table, a directory.Imported) {
		for _, did := range []struct {
			what    string
			entries []string
		}{{"added", a.Added}, {"changed", a.Changed}, {"unchanged", a.Unchanged}} {
			for _, e := range did.entries {
				t.row(did.what, e)
			}
		}
	}))
}

type reencryptCmd struct {
	signature
	consoleFlags
}

// Run encrypts the secrets again.
func (r reencryptCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "POST", "/v1/directory/reencrypt", r.order(map[string]any{}), read(func(t table, a struct{ Secrets int }) {
		t.row(fmt.Sprintf("All %d stored secrets are encrypted with the first secrets key.", a.Secrets))
	}))
}

// accountsCmd has the commands about accounts.
type accountsCmd struct {
	List accountsListCmd `cmd:"" help:"List the WhatsApp Business Accounts that Sluice knows from webhooks and from Meta's answers, with their numbers."`
}

type accountsListCmd struct{ consoleFlags }

// Run lists the accounts.
func (a accountsListCmd) Run(ctx context.Context) error {
	return a.ask(ctx, "GET", "/v1/accounts", nil, read(func(t table, a struct {
		Accounts []struct {
			ID      string   `json:"waba_id"`
			Numbers []string `json:"phone_number_ids"`
		}
	},
	) {
		t.row("ACCOUNT", "PHONE NUMBER IDS")
		for _, one := range a.Accounts {
			t.row(one.ID, strings.Join(one.Numbers, ", "))
		}
	}))
}

// expiry returns a time for an entry; an empty flag removes it.
func expiry(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time like 2027-01-31T00:00:00Z", text)
	}
	return at, nil
}
