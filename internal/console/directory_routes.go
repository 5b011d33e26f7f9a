package console

import (
	"net/http"

	"sluice/internal/directory"
	"sluice/internal/httpapi"
)

const (
	aboutNumbers = "A number can come from the configuration file (`source`: `file`) or be stored by an operator (`stored`). A stored entry replaces the one of the file with the same id. " +
		"Programs follow a change within two seconds, without a restart. See docs/clients.md. Changes need an API key for all numbers."
	aboutPut = "The request is the whole entry, as the list has it, with the members that you change, and with the `revision` that you read. With `revision` 0, or without it, a new entry is stored: " +
		"the request is refused if an entry is stored already. So two operators do not overwrite the changes of each other. The members `source`, `updated_at` and `secrets` are ignored."
	aboutRemove = "An entry of the configuration file is hidden by the removal, and comes back when you store it again."
)

// entryKind is what the routes of a kind of entries have in common.
type entryKind struct {
	path, group string
	one, many   string // for the names of operations
	id          httpapi.Param
}

// directoryRoutes are the routes of numbers, apps, API keys and clients.
func (c *Console) directoryRoutes() []httpapi.Route {
	number := entryKind{"/v1/numbers", "Numbers", "Number", "Numbers", httpapi.Param{Name: "phone_number_id", Doc: "The phone number id.", Example: "106540352242922"}}
	app := entryKind{"/v1/apps", "Apps", "App", "Apps", httpapi.Param{Name: "name", Doc: "The name of the app.", Example: "main"}}
	apiKey := entryKind{"/v1/api-keys", "API keys", "APIKey", "APIKeys", httpapi.Param{Name: "name", Doc: "The name of the API key.", Example: "shop"}}
	client := entryKind{"/v1/clients", "Clients", "Client", "Clients", httpapi.Param{Name: "name", Doc: "The name of the client.", Example: "acme"}}

	list := func(k entryKind, doc string, answer any, narrow bool, of func(directory.Entries, httpapi.Key, string) any) httpapi.Route {
		id, codes := k.id, []string{"store_unavailable"}
		if id.In = "query"; !narrow {
			codes = append(codes, "all_numbers_required")
		}
		return httpapi.Route{
			Method: http.MethodGet, Path: k.path, Name: "list" + k.many, Group: k.group, Scope: httpapi.ScopeConsole,
			Summary: "List the entries of the directory and of the configuration file, without secrets.", Doc: doc, Params: []httpapi.Param{id},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The list.", Type: answer}}, Codes: codes, Handler: c.listEntries(of, narrow, k.id.Name),
		}
	}
	order := func(k entryKind, verb, summary, doc string, body, answer any, example string, f http.HandlerFunc, codes ...string) httpapi.Route {
		r := httpapi.Route{
			Method: http.MethodPost, Path: k.path, Name: verb + k.one, Group: k.group, Scope: httpapi.ScopeAdmin, Summary: summary, Doc: doc,
			Body:    &httpapi.Body{Type: body, Example: "{" + example + `"actor":"anna","reason":"a new client"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The change is stored. Programs follow it within two seconds.", Type: answer}},
			Codes:   orderCodes(append(codes, "all_numbers_required", "entry_invalid", "entry_changed")...), Handler: f,
		}
		if verb != "set" {
			r.Path, k.id.In, r.Codes = k.path+"/{"+k.id.Name+"}/"+verb, "path", append(r.Codes, "entry_not_found")
			r.Params = []httpapi.Param{k.id}
		}
		return r
	}
	set := func(k entryKind, body any, example string, f http.HandlerFunc, codes ...string) httpapi.Route {
		return order(k, "set", "Add an entry, or change it.", aboutPut, body, entryStored{}, example, f, codes...)
	}
	remove := func(k entryKind, kind directory.Kind, codes ...string) httpapi.Route {
		return order(k, "remove", "Remove an entry.", aboutRemove, removeRequest{}, removeResult{}, `"revision":3,`, c.removeEntry(kind), codes...)
	}
	return []httpapi.Route{
		list(number, aboutNumbers, numberList{}, true, func(all directory.Entries, key httpapi.Key, id string) any {
			return numberList{some(all.Numbers, id, func(n directory.Number) bool { return key.Covers(n.PhoneNumberID) })}
		}),
		set(number, numberRequest{}, `"phone_number_id":"106540352242922","display_number":"+15551234567","client":"acme","access_token":"EAAG...",`, putEntry[numberRequest](c), "secrets_key_missing"),
		order(number, "rotate", "Replace the access token of a number.", "The next attempt uses the new token. Holds that Sluice set because the old token was not valid end.", rotateTokenRequest{}, entryStored{},
			`"access_token":"EAAG...",`, c.handle(c.rotateToken), "secret_missing", "secrets_key_missing"),
		order(number, "remove", "Remove a number.", aboutRemove+" `backlog` says what becomes of messages that wait. With `drain`, `move` and `cancel` the number stays in the list, with `leaving`, until its last message is final.", removeNumberRequest{}, removeResult{},
			`"backlog":"drain",`, c.handle(c.removeNumber), "backlog_unknown", "number_has_messages"),
		{
			Method: http.MethodGet, Path: "/v1/accounts", Name: "listAccounts", Group: "Numbers", Scope: httpapi.ScopeConsole,
			Summary: "List the WhatsApp Business Accounts that are known, with their numbers.", Doc: "Sluice learns the account of a number from webhooks and from Meta's answers.",
			Answers: []httpapi.Answer{{Status: 200, Doc: "The list.", Type: accountList{}}}, Codes: []string{"store_unavailable"}, Handler: c.handle(c.listAccounts),
		},
		list(app, "Webhooks of an app come to `/webhooks/whatsapp/{name}`. The API key must be for all numbers.", appList{}, false, func(all directory.Entries, _ httpapi.Key, id string) any {
			return appList{some(all.Apps, id, nil)}
		}),
		set(app, appRequest{}, `"name":"main","secret":"0123456789abcdef0123456789abcdef","verify_token":"a-long-random-text",`, putEntry[appRequest](c), "secrets_key_missing"),
		order(app, "rotate", "Replace the app secret of an app.", "Webhooks that the previous secret signs are accepted too until its time is over. The app secret must be a stored one: of an app of the configuration file, change the files.", rotateAppRequest{}, entryStored{},
			`"secret":"fedcba9876543210fedcba9876543210","previous_for":"48h",`, c.handle(c.rotateApp), "secret_missing", "secrets_key_missing", "duration_invalid"),
		remove(app, directory.KindApp),
		list(apiKey, "The API key of the request must be for all numbers.", apiKeyList{}, false, func(all directory.Entries, _ httpapi.Key, id string) any {
			return apiKeyList{some(all.APIKeys, id, nil)}
		}),
		set(apiKey, apiKeyRequest{}, `"name":"shop","phone_number_ids":["106540352242922"],"scopes":["messages:send","messages:read"],"client":"acme",`, putEntry[apiKeyRequest](c), "api_key_in_use"),
		order(apiKey, "rotate", "Give an API key a new secret.", "The previous secret works too until its time is over.", rotateKeyRequest{}, entryStored{},
			`"previous_for":"48h",`, c.handle(c.rotateKey), "duration_invalid", "api_key_in_use"),
		remove(apiKey, directory.KindKey, "api_key_in_use"),
		list(client, "The API key must be for all numbers.", clientList{}, false, func(all directory.Entries, _ httpapi.Key, id string) any {
			return clientList{some(all.Clients, id, nil)}
		}),
		c.clientRoute(),
		set(client, clientRequest{}, `"name":"acme","note":"contract 4711",`, putEntry[clientRequest](c)),
		remove(client, directory.KindClient),
		{
			Method: http.MethodGet, Path: "/v1/directory/export", Name: "exportDirectory", Group: "Directory", Scope: httpapi.ScopeConsole,
			Summary: "Export the stored entries as YAML.", Doc: "The API key must be for all numbers.",
			Answers: []httpapi.Answer{{Status: 200, Doc: "The entries.", Type: directoryDocument{}}}, Codes: []string{"store_unavailable", "all_numbers_required"}, Handler: c.handle(c.exportDirectory),
		},
		{
			Method: http.MethodPost, Path: "/v1/directory/import", Name: "importDirectory", Group: "Directory", Scope: httpapi.ScopeAdmin,
			Summary: "Store the entries of a YAML document: all of them, or none if one is not valid.", Doc: "The API key must be for all numbers.",
			Body:    &httpapi.Body{Type: importRequest{}, Example: `{"document":"clients:\n  - {name: acme}\n","actor":"anna","reason":"from the old installation"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The entries are stored. Programs follow within two seconds.", Type: directory.Imported{}}},
			Codes:   orderCodes("all_numbers_required", "entry_invalid", "entry_changed"), Handler: c.handle(c.importDirectory),
		},
		{
			Method: http.MethodPost, Path: "/v1/directory/reencrypt", Name: "reencryptDirectory", Group: "Directory", Scope: httpapi.ScopeAdmin,
			Summary: "Encrypt all stored secrets, the entries of suppression lists and the schedules, with the first secrets key.", Doc: "After that the second secrets key can be removed. It can take a minute; after an error, send the request again: it goes on where it stopped. The API key must be for all numbers.",
			Body:    &httpapi.Body{Type: orderOnly{}, Example: `{"actor":"anna","reason":"a new secrets key"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "All secrets are encrypted with the first key.", Type: reencryptResult{}}},
			Codes:   orderCodes("all_numbers_required", "secrets_key_missing"), Handler: c.handle(longer(c.reencrypt)),
		},
	}
}
