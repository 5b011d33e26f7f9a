package pages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// entry is an entry of the directory as the console API lists it. The page sends it back as it is, with what was typed, so that
// members which the page does not show stay.
type entry map[string]any

// UnmarshalJSON keeps numbers as they are: a revision must not be rounded.
func (e *entry) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var members map[string]any
	err := d.Decode(&members)
	*e = members
	return err
}

// Text returns a member for people; several values are separated by commas.
func (e entry) Text(name string) string {
	switch v := e[name].(type) {
	case nil:
		return ""
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, fmt.Sprint(one))
		}
		return strings.Join(all, ", ")
	case map[string]any:
		if version := v["version"]; version != nil {
			return fmt.Sprintf("%v=%v", version, v["share"])
		}
	}
	return fmt.Sprint(e[name])
}

// Others returns what the list shows in the column of other settings: those that are set to something else than their defaults. The form
// does not have the settings of classes and templates: they stay as they are.
func (e entry) Others(k entryKind) (all []string) {
	for _, f := range k.Fields {
		if normal, is := k.Others[f.Name]; is && e.Text(f.Name) != "" && e.Text(f.Name) != normal {
			all = append(all, f.Label+": "+e.Text(f.Name))
		}
	}
	classes, _ := e["classes"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		class, _ := classes[name].(map[string]any)
		for _, setting := range slices.Sorted(maps.Keys(class)) {
			if setting != "portfolio_limit" || class[setting] != "refuse" {
				all = append(all, fmt.Sprintf("Class %s, %s: %v", name, strings.ReplaceAll(setting, "_", " "), class[setting]))
			}
		}
	}
	templates, _ := e["template_classes"].([]any)
	for _, one := range templates {
		if t, is := one.(map[string]any); is {
			all = append(all, fmt.Sprintf("Templates %v: class %v", t["name"], t["class"]))
		}
	}
	return all
}

// Secrets returns the stored secrets in words.
func (e entry) Secrets() (all []string) {
	secrets, _ := e["secrets"].(map[string]any)
	for name, info := range secrets {
		one, _ := info.(map[string]any)
		all = append(all, fmt.Sprintf("%s %v, set %s UTC", strings.ReplaceAll(name, "_", " "), one["fingerprint"], dayOf(one["set_at"])))
	}
	slices.Sort(all)
	return all
}

// LastUsed returns when an API key was last used, for people; empty: it was not.
func (e entry) LastUsed() string { return dayOf(e["last_used"]) }

// dayOf returns a time of an answer for people.
func dayOf(v any) string {
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return clock(at)
}

// entryField is a field of the form of an entry, and a column of the list. The kinds are text, whole, list, time, check, choice (true, false
// or nothing), share (a version and its share in percent) and secret.
type entryField struct{ Name, Label, Hint, Kind string }

// entryKind is a kind of entries.
type entryKind struct {
	Name, Title, One string
	path             string // in the console API
	ID               entryField
	Fields           []entryField
	Others           map[string]string // the fields that have no column of their own, with their defaults
	Rotated          string            // the label of the secret that can be replaced; empty: there is none
	rotated          string            // its member; empty: Sluice makes it
	Previous         bool              // the previous secret works for a time
	Leaves           bool              // a removal says what becomes of messages
}

var entryName = entryField{Name: "name", Label: "Name", Hint: "1 to 32 of a-z, 0-9 and -."}

// entryKinds are the kinds, in the order of the page.
var entryKinds = []entryKind{
	{
		Name: "numbers", Title: "Numbers", One: "number", path: "/v1/numbers", ID: entryField{Name: "phone_number_id", Label: "Phone number id", Hint: "Meta's id, digits only."},
		Fields: []entryField{
			{"display_number", "Phone number", "Like +15551234567.", "text"},
			{"client", "Client", "The name of the client that the number belongs to.", "text"},
			{"shared_with", "Shared with", "Other clients that may send from it, separated by commas.", "list"},
			{"suppress", "Opt-out", "What people who opted out do not get: marketing, or marketing, utility. Empty: as the client.", "list"},
			{"rate_limit", "Messages per second", "1 to 10000. Empty: as Meta says.", "whole"},
			{"unknown_types", "Unknown message types", "pass or refuse.", "text"},
			{"other_app_conversations", "Conversations of other apps", "refuse, wait or send: service messages in them.", "text"},
			{"customer_service_window", "Customer service window", "off or refuse: free-form messages to people whose window is closed. Empty: off.", "text"},
			{"messaging_account_id", "Messaging account", "Meta's id, of messages that name none. Empty: Meta chooses.", "text"},
			{"marketing_messages", "Marketing messages", "off, fallback or strict: whether they go to Meta's Marketing Messages API. Empty: off.", "text"},
			{"message_activity_sharing", "Message activity sharing", "true or false, of these messages. Empty: Meta's default.", "choice"},
			{"graph_version", "Graph version", "Like v25.0. Empty: that of the configuration.", "text"},
			{"graph_version_canary", "Graph version canary", "Another version for a share of the messages, in percent, like v27.0=5. Empty: none.", "share"},
			{"token_file", "Token file", "A path that each worker reads. Empty: a stored access token.", "text"},
			{"access_token", "Access token", "Stored encrypted, never shown. Empty: the stored one stays.", "secret"},
		},
		Others: map[string]string{
			"unknown_types": "pass", "other_app_conversations": "refuse", "customer_service_window": "off", "messaging_account_id": "", "marketing_messages": "off", "message_activity_sharing": "", "graph_version": "", "graph_version_canary": "", "token_file": "",
		},
		Rotated: "New access token", rotated: "access_token", Leaves: true,
	},
	{
		Name: "apps", Title: "Apps", One: "app", path: "/v1/apps", ID: entryName,
		Fields: []entryField{
			{"secret", "App secret", "Stored encrypted, never shown. Empty: the stored one stays.", "secret"},
			{"verify_token", "Verify token", "16 characters or more. Empty: the stored one stays.", "secret"},
		},
		Rotated: "New app secret", rotated: "secret", Previous: true,
	},
	{
		Name: "api_keys", Title: "API keys", One: "API key", path: "/v1/api-keys", ID: entryName,
		Fields: []entryField{
			{"phone_number_ids", "Phone number ids", "Separated by commas. *: all.", "list"},
			{"scopes", "Scopes", "Separated by commas: messages:send, messages:read, messages:cancel, account:write, events:read, console:read, admin.", "list"},
			{"client", "Client", "The name of the client that the key belongs to.", "text"},
			{"messaging_account_id", "Messaging account", "Meta's id, of messages that name none. Empty: that of the number.", "text"},
			{"expires", "Expires", "Like 2027-01-31T00:00:00Z. Empty: never.", "time"},
			{"revoked", "Revoked: requests with the key are refused", "", "check"},
		},
		Rotated: "New key", Previous: true,
	},
	{
		Name: "clients", Title: "Clients", One: "client", path: "/v1/clients", ID: entryName,
		Fields: []entryField{
			{"note", "Note", "For operators, up to 500 characters.", "text"},
			{"weight", "Weight", "1 to 1000: clients share the slots of a number by weight. Empty: 1.", "whole"},
			{"suppress", "Opt-out", "What people who opted out do not get: marketing, or marketing, utility. Empty: marketing.", "list"},
		},
	},
}

// Columns are the fields that the list shows.
func (k entryKind) Columns() []entryField {
	return slices.DeleteFunc(slices.Clone(k.Fields), func(f entryField) bool {
		_, other := k.Others[f.Name]
		return other || f.Kind == "secret"
	})
}

// directoryData is the data of the page.
type directoryData struct {
	Kinds   []entryKind
	Kind    entryKind
	Entries []entry
	Chosen  entry  // that the address asks to change, replace or remove; nil: none
	ID      string // of Chosen
}

func directoryPage() page {
	return page{
		name: "directory", path: "directory", title: "Numbers and keys", nav: true, read: readDirectory,
		acts: map[string]func(*view) (done, *problem){"set": setEntry, "rotate": rotateEntry, "remove": removeEntry},
	}
}

// kindOf returns the kind that the address asks for.
func (v *view) kindOf() entryKind {
	i := slices.IndexFunc(entryKinds, func(k entryKind) bool { return k.Name == v.query("kind") })
	return entryKinds[max(i, 0)]
}

// entries returns the entries of a kind, or the one with an id.
func (v *view) entries(k entryKind, id string) ([]entry, *problem) {
	path := k.path
	if id != "" {
		path += "?" + url.Values{k.ID.Name: {id}}.Encode()
	}
	var list map[string]json.RawMessage
	if failed := v.console("GET", path, nil, &list); failed != nil {
		return nil, failed
	}
	var all []entry
	if err := json.Unmarshal(list[k.Name], &all); err != nil {
		return nil, v.broken(path, err)
	}
	return all, nil
}

func readDirectory(v *view) (any, *problem) {
	d := directoryData{Kinds: entryKinds, Kind: v.kindOf()}
	all, failed := v.entries(d.Kind, "")
	d.Entries = all
	for _, name := range []string{"set", "rotate", "remove"} {
		if id := v.query(name); id != "" {
			d.ID = id
			if i := slices.IndexFunc(all, func(e entry) bool { return e.Text(d.Kind.ID.Name) == id }); i >= 0 {
				d.Chosen = all[i]
			}
		}
	}
	return d, failed
}

// back is the page that an act leads to.
func (k entryKind) back() string { return address("directory", "kind", k.Name) }

// setEntry adds an entry, or changes the one with the revision that the form has.
func setEntry(v *view) (done, *problem) {
	k, id := v.kindOf(), v.field("id")
	body := entry{k.ID.Name: id}
	if v.field("change") != "" {
		all, failed := v.entries(k, id)
		if failed != nil {
			return done{}, failed
		}
		if len(all) > 0 {
			body = all[0]
		}
		if revision := v.field("revision"); revision != "" {
			body["revision"] = json.Number(revision) // of the form: what changed since is refused
		}
	}
	for _, f := range k.Fields {
		value, problem := typed(f, v.field(f.Name))
		if problem != nil {
			return done{}, problem
		}
		if delete(body, f.Name); value != nil {
			body[f.Name] = value
		}
	}
	var stored struct{ Key string }
	if failed := v.console("POST", k.path, v.order(body), &stored); failed != nil {
		return done{}, failed
	}
	return v.stored("Stored", k, id, stored.Key), nil
}

// typed returns the value of a field as JSON has it; nil: it is empty.
func typed(f entryField, text string) (any, *problem) {
	switch {
	case text == "":
		return nil, nil
	case f.Kind == "check":
		return true, nil
	case f.Kind == "list":
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }), nil
	case f.Kind == "whole":
		if strings.Trim(text, "0123456789") != "" {
			return nil, &problem{Status: 422, Title: "Not a number", Detail: f.Label + " must be a whole number."}
		}
		return json.Number(text), nil
	case f.Kind == "choice":
		if text != "true" && text != "false" {
			return nil, &problem{Status: 422, Title: "Not a choice", Detail: f.Label + " must be true or false, or empty."}
		}
		return text == "true", nil
	case f.Kind == "share":
		version, share, _ := strings.Cut(text, "=")
		if share == "" || strings.Trim(share, "0123456789") != "" {
			return nil, &problem{Status: 422, Title: "Not a share", Detail: f.Label + " must be a version and a share in percent, like v27.0=5."}
		}
		return map[string]any{"version": version, "share": json.Number(share)}, nil
	}
	return text, nil
}

// stored is the result of a change. A key that Sluice made is shown at once, and never again.
func (v *view) stored(did string, k entryKind, id, key string) done {
	if key != "" {
		return done{show: map[string]string{"Name": id, "Key": key}}
	}
	return done{text: fmt.Sprintf("%s: %s %s. All programs follow within two seconds.", did, k.One, id), to: k.back()}
}

// rotateEntry replaces the secret of an entry.
func rotateEntry(v *view) (done, *problem) {
	k, id := v.kindOf(), v.field("id")
	members := map[string]any{"previous_for": v.field("previous_for")}
	if k.rotated != "" {
		members[k.rotated] = v.field("secret")
	}
	var stored struct{ Key string }
	failed := v.console("POST", k.path+"/"+url.PathEscape(id)+"/rotate", v.order(members), &stored)
	return v.stored("Replaced the secret", k, id, stored.Key), failed
}

// removeEntry removes an entry.
func removeEntry(v *view) (done, *problem) {
	k, id := v.kindOf(), v.field("id")
	var result struct{ Removed bool }
	members := map[string]any{"backlog": v.field("backlog")}
	if to := v.field("to"); to != "" {
		members["to"] = to
	}
	failed := v.console("POST", k.path+"/"+url.PathEscape(id)+"/remove", v.order(members), &result)
	text := fmt.Sprintf("Removed: %s %s.", k.One, id)
	if !result.Removed {
		text = fmt.Sprintf("The number %s accepts no new messages. Workers remove it when its last message is final.", id)
	}
	return done{text: text, to: k.back()}, failed
}
